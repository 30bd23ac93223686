# What 4DGS alone makes of the video: the time moves the Gaussians. For comparison with default.py.
_base_ = "default.py"

ModelHiddenParams = dict(expression_input=False, time_input=True)
