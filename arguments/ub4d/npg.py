# Neural Parametric Gaussians on any folder in the layout of UB4D: one camera that moves, masks.
_base_ = "../dnerf/npg.py"
dataset = "ub4d"

ModelParams = dict(init_points=10_000)

OptimizationParams = dict(
    lambda_rest=0.01,  # what a slow camera seems to see move may be depth that is wrong
    opacity_reset_interval=300_000,  # never: a reset costs more than it cleans with one camera
    two_backgrounds=True,
)
