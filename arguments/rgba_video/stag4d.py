# STAG4D on pixels of the video and its generated views, made for two cores: needs no weights.
# With weights: --guidance zero123 --guidance_path FOLDER. Published numbers: stag4d_paper.py.
dataset = "rgba_video"
method = "stag4d"

ModelParams = dict(init_points=10_000, sh_degree=0)

OptimizationParams = dict(
    init_steps=200,
    iterations=1_800,
    batch_size=1,
    anchors_per_draw=2,
    iters=100,
    position_lr_max_steps=2_000,
    densify_from_iter=300,
    densify_until_iter=1_400,
    pruning_from_iter=300,
    cooldown=0.3,
)

ModelHiddenParams = dict(
    kplanes_config=dict(output_coordinate_dim=16, resolution=[64, 64, 64, 16]),
    multires=[1, 2],
)
