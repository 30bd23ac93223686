# Folders of GaussianAvatars and VHAP. Values as in nerfblendshape/fourdgs.py, for the same reasons.
_base_ = "../nerfblendshape/fourdgs.py"
dataset = "gaussianavatars"

# FLAME's pose does not say where the head is: the cameras move instead of it.
DataParams = dict(fixed_head=True)

ModelHiddenParams = dict(flame_pose_input=True)
