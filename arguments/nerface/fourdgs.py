# Folders in the layout of NeRFace. Values as in nerfblendshape/fourdgs.py, for the same reasons,
# but for the rates.
_base_ = "../nerfblendshape/fourdgs.py"
dataset = "nerface"

# The family has no masks: the whole picture, before its plate of the empty room.
DataParams = dict(part="all", plate=True)

# A quarter: at those of nerfblendshape the head dissolved into the plate within the first fine
# steps (obama at 64x64, 500 + 500 steps).
OptimizationParams = dict(
    deformation_lr_init=2e-3,
    deformation_lr_final=2e-4,
    grid_lr_init=1.25e-2,
    grid_lr_final=1.25e-3,
)
