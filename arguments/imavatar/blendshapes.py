# Linear bases on subjects in the layout of IMavatar: the FLAME pose opens the jaw, so it mixes them
# beside the expression. Values as in nerfblendshape/blendshapes.py, for the same reasons.
_base_ = "../nerfblendshape/blendshapes.py"
dataset = "imavatar"

# The head stands still and the camera moves about it.
DataParams = dict(fixed_head=True)

ModelHiddenParams = dict(flame_pose_input=True)
