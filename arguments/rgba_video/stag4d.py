# STAG4D on pixels of the video and its generated views, made for two cores: needs no weights.
# With weights: --guidance zero123 --guidance_path FOLDER. Published numbers: stag4d_paper.py.
dataset = "rgba_video"
method = "stag4d"

ModelParams = dict(init_points=5_000, sh_degree=0)

OptimizationParams = dict(
    init_steps=200,
    iterations=1_800,
    batch_size=1,
    anchors_per_draw=2,
    lambda_hull=1.0,
    iters=100,
    # A quarter of the published rates, which are made for a prior's gradients.
    position_lr_init=4e-5,
    position_lr_final=4e-7,
    position_lr_max_steps=2_000,
    deformation_lr_init=4e-5,
    deformation_lr_final=4e-6,
    grid_lr_init=4e-4,
    grid_lr_final=4e-5,
    densify_until_iter=0,  # five thousand are enough here (docs/stag4d.md)
    cooldown=0.3,
)

ModelHiddenParams = dict(
    kplanes_config=dict(output_coordinate_dim=16, resolution=[64, 64, 64, 16]),
    multires=[1, 2],
    lambda_tv=10.0,
)
