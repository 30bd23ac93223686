# Folders of INSTA's tool. Values as in nerfblendshape/fourdgs.py, for the same reasons.
_base_ = "../nerfblendshape/fourdgs.py"
dataset = "insta"
