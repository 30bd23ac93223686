# An avatar: linear bases, whose settings are in blendshapes.py; fourdgs.py has those of 4DGS.
_base_ = "blendshapes.py"
