# Shared by the eight scenes of D-NeRF (Pumarola et al., CVPR 2021); a scene file holds only what
# differs. Values: the released configuration of 4DGS.
dataset = "dnerf"
method = "fourdgs"

OptimizationParams = dict(
    coarse_iterations=3_000,
    iterations=20_000,
    deformation_lr_final=1.6e-6,
    grid_lr_final=1.6e-5,
    # The published value of 8,000 never prunes a D-NeRF scene; rows that draw nothing cost time.
    pruning_interval=100,
    # L1 alone fits the median over time: white, where small things move. L2 keeps them.
    lambda_l2_coarse=1.0,
    lambda_l2=1.0,
)

ModelHiddenParams = dict(
    multires=[1, 2],
    defor_depth=0,
    net_width=64,
)
