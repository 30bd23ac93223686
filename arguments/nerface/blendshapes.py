# Folders in the layout of NeRFace. Values as in nerfblendshape/blendshapes.py, for its reasons.
_base_ = "../nerfblendshape/blendshapes.py"
dataset = "nerface"

# The family has no masks: the whole picture, before its plate of the empty room.
DataParams = dict(part="all", plate=True)
