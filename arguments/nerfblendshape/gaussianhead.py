# GaussianHead on two cores in about the time of fourdgs.py: a deformation MLP of a quarter of the
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
    # At 3e-3 every ReLU of the last layer died on the talking head, and with them all motion.
    deform_lr_init=1e-3,
    deform_lr_final=1e-4,
    triplane_lr=1e-2,
    triplane_lr_final=1e-3,
    quater_lr_init=3e-2,
    quater_lr_final=3e-3,
    # At 3e-3 the first steps made half of the Gaussians transparent for good, at 6e-3 all: on white
    # ground the opacities' shared decoder gains most by showing nothing.
    opacity_lr=1e-3,
    geometry_lr=1e-2,
    feature_lr=1e-2,
    opacity_reset_interval=300_000,  # a reset costs more than it cleans
    lambda_vgg=0.0,  # VGG16 costs ten times the rest of a step on a CPU
    lambda_regions=1.0,  # the mouth is a percent of the picture
    max_gaussians=29_000,  # under 12 MB on disk
)

ModelHiddenParams = dict(deform_width=64, deform_depth=5)
