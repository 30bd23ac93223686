# The same model told neither the expression nor the time: one face for all frames. For comparison
# with default.py.
_base_ = "default.py"

ModelHiddenParams = dict(expression_input=False, time_input=False)
