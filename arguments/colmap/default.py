# A video of a moving scene whose frames COLMAP posed. One camera, as in HyperNeRF's captures: their
# configuration.
dataset = "colmap"
method = "fourdgs"

ModelParams = dict(white_background=False)  # a real room has no background to shine through

OptimizationParams = dict(
    coarse_iterations=3_000,
    iterations=14_000,
    batch_size=2,
    densify_until_iter=10_000,
    opacity_reset_interval=300_000,  # never: a reset costs more than it cleans in real scenes
)

ModelHiddenParams = dict(
    # Time rows: about one for every four training moments; set it for long videos.
    kplanes_config=dict(output_coordinate_dim=16, resolution=[64, 64, 64, 25]),
    multires=[1, 2, 4],
    defor_depth=1,
    net_width=128,
    plane_tv_weight=2e-4,
    time_smoothness_weight=1e-3,
    l1_time_planes=1e-4,
)
