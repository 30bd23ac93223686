# The real cactus: what is published for it and not in npg_paper.py.
_base_ = "npg_paper.py"

OptimizationParams = dict(rest_time=24 / 149, lambda_anchor=100.0)

RunParams = dict(seed=123)
