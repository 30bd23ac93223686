# monogaussian_paper.py with every defect of the released code that changes results.
_base_ = "monogaussian_paper.py"

ModelHiddenParams = dict(
    reference_rotation=True,
    reference_units=True,
    refine_camera=False,  # what it learns of cameras reaches no picture
)

OptimizationParams = dict(
    reference_moments=True,
    reference_pruning=True,
    reference_targets=True,
    # The schedule stays with an optimizer that was thrown away.
    position_lr_final=1e-4,
    lr_final=1.0,
)
