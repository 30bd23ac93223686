# An avatar of linear bases: every Gaussian has twenty ways to move, turn, grow, fade and change its
# colour, and the expression mixes them. Made for two cores.
_base_ = "data.py"
method = "blendshapes"

OptimizationParams = dict(
    coarse_iterations=1_000,
    iterations=8_000,
    position_lr_max_steps=0,  # the length of the stage
    densify_until_iter=0,  # half of the stage
    # A tracker's coefficients are noisy, and some hundred frames teach their coincidences, too.
    code_noise=0.3,
    lambda_l2=30.0,  # as much as L1 where a pixel is wrong by a thirtieth: learns faster
    lambda_regions=1.0,  # the mouth is a percent of the picture
    opacity_reset_interval=300_000,  # a reset costs more than it cleans
    cooldown=0.3,  # constant rates leave Adam's noise in the result
    max_gaussians=30_000,
)
