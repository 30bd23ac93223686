# Mutant: what is published for it and not in npg_paper.py.
_base_ = "npg_paper.py"

OptimizationParams = dict(rest_time=118 / 149)

RunParams = dict(seed=123)
