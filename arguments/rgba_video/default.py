# RGBA video of one subject, with STAG4D's generated views of other sides where the folder has them:
# 4DGS trained on these pixels alone. Without such views the far sides stay empty.
dataset = "rgba_video"
method = "fourdgs"

ModelParams = dict(init_points=10_000)  # in a ball of radius 0.5 (STAG4D)

OptimizationParams = dict(
    coarse_iterations=1_000,
    iterations=7_000,
    densify_until_iter=0,
    # The mean over time, not the median, which is empty where small things move.
    lambda_l1_coarse=0.0,
    lambda_l2_coarse=1.0,
    lambda_l2=2.0,
    cooldown=0.3,
    max_gaussians=80_000,
)

ModelHiddenParams = dict(
    kplanes_config=dict(output_coordinate_dim=16, resolution=[64, 64, 64, 8]),  # one for 4 frames
    multires=[1, 2],
    defor_depth=0,
    net_width=64,
)
