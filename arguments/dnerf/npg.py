# Neural Parametric Gaussians on any folder in the layout of D-NeRF: first a coarse cloud that fits
# the silhouettes, then Gaussians in its local volumes.
dataset = "dnerf"
method = "npg"

OptimizationParams = dict(
    densify_from_iter=300,
    pruning_from_iter=300,
    densify_until_iter=0,
    prune_until_iter=100_000,
    # Four times and twice those of 3DGS: a tenth of its steps are enough, from colours that are
    # nearly right.
    feature_lr=0.01,
    scaling_lr=0.01,
    lambda_l2=2.0,
    cooldown=0.3,
    max_gaussians=30_000,  # lego would take twice as many, and three times as long
)
