# Linear bases on subjects in the layout of IMavatar: expression and FLAME pose mix them.
_base_ = "data.py"
method = "blendshapes"

# The head stands still and the camera moves about it.
DataParams = dict(fixed_head=True)

ModelHiddenParams = dict(flame_pose_input=True)

OptimizationParams = dict(
    coarse_iterations=1_000,
    iterations=14_000,
    position_lr_max_steps=0,  # the length of the stage
    densify_until_iter=0,  # half of the stage
    opacity_reset_interval=300_000,
    cooldown=0.3,
    max_gaussians=30_000,
)
