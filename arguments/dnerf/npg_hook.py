# Hook: what is published for it and not in npg_paper.py.
_base_ = "npg_paper.py"

ModelHiddenParams = dict(octaves=8)

OptimizationParams = dict(rest_time=60 / 99)

RunParams = dict(seed=123)
