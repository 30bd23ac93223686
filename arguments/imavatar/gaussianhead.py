# Subjects in the layout of IMavatar: the FLAME pose opens the jaw, so it moves the Gaussians beside
# the expression. Values as in nerfblendshape/gaussianhead.py, for the same reasons.
_base_ = "../nerfblendshape/gaussianhead.py"
dataset = "imavatar"

# The method moves a head that stands still in its own frame.
DataParams = dict(fixed_head=True)

ModelHiddenParams = dict(flame_pose_input=True)

OptimizationParams = dict(lambda_regions=0.0)  # as in fourdgs.py
