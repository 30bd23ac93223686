# GaussianHead with every defect of the released code that changes results, for comparison.
_base_ = "gaussianhead.py"

ModelHiddenParams = dict(
    reference_look=True,
    reference_box=True,
    reference_contraction=True,
    reference_channels=True,
    reference_draw=True,
    reference_matrix=True,
    reference_color=True,
    reference_scales=True,
)

OptimizationParams = dict(
    reference_adam=True,
    reference_rate=True,
    reference_moments=True,
    reference_pruning=True,
)
