# Folders of INSTA's tool. Values as in nerfblendshape/default.py, for the same reasons.
_base_ = "../nerfblendshape/default.py"
dataset = "insta"
