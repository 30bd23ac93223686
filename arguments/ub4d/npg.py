# Neural Parametric Gaussians on any folder in the layout of UB4D: one camera that moves, masks.
dataset = "ub4d"
method = "npg"

ModelParams = dict(init_points=10_000)

OptimizationParams = dict(
    densify_from_iter=300,
    pruning_from_iter=300,
    densify_until_iter=0,
    prune_until_iter=100_000,
    opacity_reset_interval=300_000,  # never: a reset costs more than it cleans with one camera
    feature_lr=5e-3,
    lambda_l2=2.0,
    cooldown=0.3,
    max_gaussians=80_000,
    two_backgrounds=True,
)
