# GaussianHead whose planes are read at the Gaussians themselves, not at rotated copies of them. For
# comparison with gaussianhead.py.
_base_ = "gaussianhead.py"

ModelHiddenParams = dict(rotate_copies=False)
