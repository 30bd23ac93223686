# 4DGS on the talking head of `make demo-head`. For comparison with demo_head.py.
_base_ = "fourdgs.py"

DataParams = dict(head_model="data/demo_head/head_model.npz", test_videos=["test", "driving"])
ModelParams = dict(init_points=12_000, sh_degree=1)

ModelHiddenParams = dict(
    no_do=False,  # teeth and lids come and go
    no_dshs=False,  # the light stands still while the head turns
    # Small: 320 frames show each coefficient in few combinations, and width costs time.
    net_width=64,
    defor_depth=2,
    multires=[1, 2],
    kplanes_config=dict(output_coordinate_dim=16, resolution=[64, 64, 64, 100]),
)

OptimizationParams = dict(
    coarse_iterations=300,
    iterations=6_000,
    position_lr_max_steps=0,  # the length of the stage
    deformation_lr_init=1e-3,
    deformation_lr_final=1e-4,
    grid_lr_init=5e-3,
    grid_lr_final=5e-4,
    lambda_dssim=0.2,
    densification_interval=200,
    max_gaussians=20_000,
)
