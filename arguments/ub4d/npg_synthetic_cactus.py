# The synthetic cactus: what is published for it and not in npg_paper.py.
_base_ = "npg_paper.py"

OptimizationParams = dict(rest_time=115 / 149, lambda_anchor=1.0)

RunParams = dict(seed=123)
