# GaussianHead on two cores in about the time of default.py: a deformation MLP of a quarter of the
# published width, a tenth of the published steps, and rates for as few. gaussianhead_paper.py has
# the published values.
_base_ = "data.py"
method = "gaussianhead"

OptimizationParams = dict(
    iterations=8_000,
    warm_up=1_000,
    densify_until_iter=0,  # half of the stage
    # All schedules end with the stage.
    position_lr_max_steps=0,
    deform_lr_max_steps=0,
    quater_lr_max_step=0,
    triplane_lr_max_step=0,
    triplane_lr=2e-2,
    triplane_lr_final=2e-3,
    quater_lr_init=3e-2,
    quater_lr_final=3e-3,
    opacity_lr=3e-3,
    feature_lr=3e-3,
    lambda_vgg=0.0,  # VGG16 costs ten times the rest of a step on a CPU
    max_gaussians=30_000,  # under 12 MB on disk
)

ModelHiddenParams = dict(deform_width=64)
