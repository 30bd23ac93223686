# Things that move far and fast, and little that stands still: Gaussians ride on control points
# that were followed through the clip. Any folder in the layout of D-NeRF.
dataset = "dnerf"
method = "controlpoints"

OptimizationParams = dict(
    densify_from_iter=300,
    pruning_from_iter=300,
    densify_until_iter=0,
    prune_until_iter=100_000,
    lambda_l2=2.0,
    position_lr_max_steps=0,
    position_lr_final=1.6e-5,
    cooldown=0.3,
    max_gaussians=80_000,
)

# What shrinks fades, instead of staying a dot.
PipelineParams = dict(antialiased=True)
