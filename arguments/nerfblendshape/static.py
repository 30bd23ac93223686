# The same model told neither the expression nor the time: one face for all frames. For comparison
# with fourdgs.py.
_base_ = "fourdgs.py"

ModelHiddenParams = dict(expression_input=False, time_input=False)
