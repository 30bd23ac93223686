# GaussianHead whose rotations take plain Adam's steps, as in the released code. For comparison with
# gaussianhead.py.
_base_ = "gaussianhead.py"

OptimizationParams = dict(reference_adam=True)
