# GaussianHead with the published values, for a GPU: 80,000 steps, an MLP of eight layers of 256.
_base_ = "data.py"
method = "gaussianhead"

ModelHiddenParams = dict(reference_look=True)
