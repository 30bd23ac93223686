# The talking head of `make demo-head` (scripts/make_demo_head.py), at 256x256 on a short schedule.
dataset = "imavatar"
method = "fourdgs"

ModelParams = dict(
    head_model="data/demo_head/head_model.npz",
    test_videos=["test", "driving"],
    init_points=15_000,
    sh_degree=0,
)
ModelHiddenParams = dict(
    time_input=False,
    expression_input=True,
    flame_pose_input=True,
    code_width=48,
    net_width=128,
    defor_depth=2,
    multires=[1, 2],
    kplanes_config=dict(output_coordinate_dim=32, resolution=[64, 64, 64, 25]),
    no_do=False,  # teeth and lids come and go
    no_dshs=False,  # light stands still while the head turns
    plane_tv_weight=1e-4,
)
OptimizationParams = dict(
    coarse_iterations=300,
    iterations=4_000,
    position_lr_max_steps=0,
    deformation_lr_init=2e-3,
    deformation_lr_final=2e-4,
    grid_lr_init=1e-2,
    grid_lr_final=1e-3,
    cooldown=0.3,
    lambda_dssim=0.2,
    densify_until_iter=0,
    opacity_reset_interval=100_000,
    max_gaussians=25_000,
)
