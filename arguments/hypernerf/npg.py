# Neural Parametric Gaussians on captures in the layout of HyperNeRF, of which masks cut the subject
# out: --mask_folder names them. The rest of the room is not part of the model.
dataset = "hypernerf"
method = "npg"

ModelParams = dict(resolution=2, init_points=10_000)

OptimizationParams = dict(
    densify_from_iter=300,
    pruning_from_iter=300,
    densify_until_iter=0,
    prune_until_iter=100_000,
    opacity_reset_interval=300_000,  # never: a reset costs more than it cleans in real scenes
    feature_lr=5e-3,
    lambda_l2=2.0,
    cooldown=0.3,
    max_gaussians=80_000,
    two_backgrounds=True,
)
