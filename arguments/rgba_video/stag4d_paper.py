# STAG4D with the published numbers and the defects of the released code repaired: for a GPU.
# Needs --guidance_path FOLDER, the weights of Zero123-XL. Generated views, if any, only guide.
_base_ = "stag4d.py"

ModelParams = dict(init_points=10_000, sh_degree=0, resolution=512)

OptimizationParams = dict(
    guidance="zero123",
    lambda_anchor=0.0,  # they are what the prior is shown, and no pixels to fit
    lambda_hull=0.0,
    init_steps=700,
    iterations=7_300,
    batch_size=4,
    iters=2_000,
    position_lr_init=2e-4,
    position_lr_final=2e-6,
    position_lr_max_steps=2_000,
    deformation_lr_init=1.6e-4,
    deformation_lr_final=1.6e-5,
    grid_lr_init=1.6e-3,
    grid_lr_final=1.6e-4,
    feature_lr=0.005,
    opacity_lr=0.02,
    scaling_lr=0.01,
    rotation_lr=0.002,
    densify_from_iter=1_200,
    densify_until_iter=6_000,
    pruning_from_iter=1_200,
    cooldown=0.0,
)

ModelHiddenParams = dict(
    bounds=1.6,
    # The released code has 25 knots in time and reads the later half of them; here all are read.
    kplanes_config=dict(output_coordinate_dim=32, resolution=[64, 64, 64, 13]),
    multires=[1, 2, 4, 8],
    lambda_tv=1.0,
)
