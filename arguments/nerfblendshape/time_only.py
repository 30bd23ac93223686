# What 4DGS alone makes of the video: the time moves the Gaussians. For comparison with fourdgs.py.
_base_ = "fourdgs.py"

ModelHiddenParams = dict(expression_input=False, time_input=True)
