# Jumping Jacks: what is published for it and not in npg_paper.py.
_base_ = "npg_paper.py"

OptimizationParams = dict(rest_time=0.0, lambda_rigid=2e-5)

RunParams = dict(seed=90)
