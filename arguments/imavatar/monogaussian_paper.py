# MonoGaussianAvatar with the published networks and numbers: the attribute network, a field that
# says all by itself, the table of points. Made for a GPU.
_base_ = "monogaussian.py"

ModelParams = dict(init_points=400, sh_degree=0)

ModelHiddenParams = dict(
    start_on_sphere=True,
    field_width=128,
    field_depth=4,
    field_octaves=0,
    field_smooth=True,
    anchored=False,
    canonical_offset=True,
    attribute_width=256,
    feature_width=0,
    correction_width=64,
    correction_depth=3,
    refine_camera=True,  # published, but the released code never reads what it learns there
)

OptimizationParams = dict(
    # Published: 100 passes in batches of 8 to 1; this is 100 passes over 2,000 frames, one a step.
    # For another video give --iterations, 100 times its frames: all below are parts of the run.
    iterations=200_000,
    batch_size=1,
    refills=100,
    refill_until=1.0,
    grow_at=[0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6],
    grow_to=[800, 1_600, 3_200, 6_400, 10_000, 20_000, 40_000, 80_000, 100_000],
    max_gaussians=100_000,
    prune_opacity=0.1,
    # Published: one rate for everything, which a schedule that never acts was to halve.
    position_lr_init=1e-4,
    position_lr_final=5e-5,
    field_lr=1e-4,
    attribute_lr=1e-4,
    lr_final=0.5,
    cooldown=0.0,
    lambda_frames=0.0,
    lambda_vgg=0.1,
)
