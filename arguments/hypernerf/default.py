# HyperNeRF and Nerfies captures: one or two hand-held cameras, a real scene. Values: the released
# configuration of 4DGS, but for what the comments explain.
dataset = "hypernerf"
method = "fourdgs"

ModelParams = dict(
    resolution=2,  # the pictures of rgb/2x, as published
    init_points=20_000,  # where the folder has no point cloud
    # Published: white, which shines through real rooms where nothing covers it yet.
    white_background=False,
)

OptimizationParams = dict(
    coarse_iterations=3_000,
    iterations=14_000,
    batch_size=2,
    densify_until_iter=10_000,
    opacity_reset_interval=300_000,  # never: a reset costs more than it cleans in real scenes
)

ModelHiddenParams = dict(
    # Published: 150 rows of time, of which the released code reads 75. Rows that lie between two
    # training moments are learned from nothing: with 22 of them, 25 rows gain 0.8 dB on held-out
    # frames over 75. Captures of several hundred frames can fill more: a row for four moments.
    kplanes_config=dict(output_coordinate_dim=16, resolution=[64, 64, 64, 25]),
    multires=[1, 2, 4],
    defor_depth=1,
    net_width=128,
    plane_tv_weight=2e-4,
    time_smoothness_weight=1e-3,
    l1_time_planes=1e-4,
)
