# Folders in the layout of NeRFace. Values as in nerfblendshape/default.py, for the same reasons, but
# for the rates.
_base_ = "../nerfblendshape/default.py"
dataset = "nerface"

# The family has no masks: the whole picture, before its plate of the empty room.
ModelParams = dict(part="all", plate=True)

# A quarter: at nerfblendshape's the head dissolved in the first fine steps (obama, 64 pixels wide),
# as the plate behind a Gaussian that was thrown off is dark, too, and pulls less than white does.
OptimizationParams = dict(
    deformation_lr_init=2e-3,
    deformation_lr_final=2e-4,
    grid_lr_init=1.25e-2,
    grid_lr_final=1.25e-3,
)
