# Folders of INSTA's tool. Values as in nerfblendshape/blendshapes.py, for the same reasons.
_base_ = "../nerfblendshape/blendshapes.py"
dataset = "insta"
