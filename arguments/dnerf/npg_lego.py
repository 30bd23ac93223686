# Lego: what is published for it and not in npg_paper.py.
_base_ = "npg_paper.py"

ModelHiddenParams = dict(n_shapes=30, static_box=True)

OptimizationParams = dict(rest_time=13 / 49, k_nn=20)

RunParams = dict(seed=123)
