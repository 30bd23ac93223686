# The synthetic human, whose 150 frames are told as 1.5 clips: what is published for it.
_base_ = "npg_paper.py"

ModelHiddenParams = dict(n_shapes=47, time_scale=1.5)

OptimizationParams = dict(rest_time=91 / 149, k_nn=20, lambda_anchor=100.0)

RunParams = dict(seed=123)
