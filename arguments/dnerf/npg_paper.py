# Neural Parametric Gaussians with the published networks, numbers and schedules, for a GPU. The
# weights of the coarse stage are ours, which know no unit; npg_reference.py has the released ones.
_base_ = "npg.py"

# Published: halves for the Gaussians, whole pictures for the coarse stage.
ModelParams = dict(resolution=2)

ModelHiddenParams = dict(
    n_points=5_000,
    n_shapes=47,
    octaves=6,
    net_width=512,
    net_depth=6,
    rows_per_point=1,
)

OptimizationParams = dict(
    coarse_iterations=100_001,
    coarse_lr=5e-4,
    coarse_side=400,
    chamfer_pixels=0,
    flow_pairs=9,
    rigid_views=10,
    lambda_colour=0.0,  # ours, as what follows
    lambda_bend=0.0,
    lambda_rest=0.0,
    coarse_still=0.0,
    spread=0.0,
    lambda_anchor=0.1,
    iterations=70_000,
    two_backgrounds=True,
    feature_lr=2.5e-3,
    network_lr_init=1.6e-4,
    network_lr_final=1.6e-6,
    shapes_lr=1e-4,
    lambda_l2=0.0,
    lambda_dssim=0.25,  # beside 1 of L1: published are 0.2 and 0.8
    position_lr_init=8e-4,  # published: 1.6e-4 times the cameras' radius, 5 in D-NeRF
    position_lr_final=8e-6,
    position_lr_max_steps=70_000,
    scaling_lr=0.05,
    scaling_lr_final=5e-4,
    densify_from_iter=500,
    densify_until_iter=20_000,
    densify_grad_threshold=2e-4,
    pruning_from_iter=500,
    prune_until_iter=0,
    max_gaussians=360_000,
    cooldown=0.0,
)
