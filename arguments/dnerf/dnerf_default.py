# Shared by the eight scenes of D-NeRF (Pumarola et al., CVPR 2021); a scene file holds only what
# differs. Values: the released configuration of 4DGS.
dataset = "dnerf"
method = "fourdgs"

OptimizationParams = dict(
    coarse_iterations=3_000,
    iterations=20_000,
    deformation_lr_final=1.6e-6,
    grid_lr_final=1.6e-5,
    pruning_interval=8_000,
)

ModelHiddenParams = dict(
    multires=[1, 2],
    defor_depth=0,
    net_width=64,
)
