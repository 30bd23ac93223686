# npg_paper.py with the released weights, in pixels of the whole pictures and the world's units, the
# released start and encoding of the time.
_base_ = "npg_paper.py"

ModelHiddenParams = dict(published_start=True, octaves=30)

OptimizationParams = dict(
    raw_units=True,
    position_lr_init=1.6e-4,
    position_lr_final=1.6e-6,
    lambda_chamfer=1.0,
    lambda_flow=10.0,
    lambda_front=100.0,
    lambda_rigid=1e9,
)
