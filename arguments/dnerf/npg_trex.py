# T-Rex: what is published for it and not in npg_paper.py.
_base_ = "npg_paper.py"

ModelHiddenParams = dict(n_shapes=30, static_box=True)

OptimizationParams = dict(rest_time=8 / 199, lambda_anchor=1.0)

RunParams = dict(seed=123)
