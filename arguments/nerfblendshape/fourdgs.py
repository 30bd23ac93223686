# An avatar: the expression moves the Gaussians, the time does not. Values: the released
# configuration of 4D-Gaussian-Head for faces with expressions, but for what the comments explain.
_base_ = "data.py"
method = "fourdgs"

OptimizationParams = dict(
    coarse_iterations=3_000,
    iterations=14_000,  # published: 60,000
    densify_until_iter=0,  # half of the stage; published: three quarters
    # Rates are times the scene's extent, how far the camera moves about the head: 0.2 for a speaker
    # who hardly turns, hence fifty times the usual ones.
    deformation_lr_init=8e-3,
    deformation_lr_final=8e-4,
    grid_lr_init=5e-2,
    grid_lr_final=5e-3,
    # At once they would tear the static face apart, from 27 dB to 9: a speaker's mouth gains 0.3.
    deformation_warm_up=150,
    # A tracker's coefficients are noisy, and some hundred frames teach their coincidences, too: a
    # ridge regression from expression to the mouth's pixels wants this much noise.
    code_noise=0.7,
    lambda_regions=1.0,  # the mouth is a percent of the picture
    # Published: 6,000, but the released code never gets there. A reset costs more than it cleans.
    opacity_reset_interval=300_000,
    cooldown=0.3,  # constant rates leave Adam's noise in the result
    # The torso moves against the head, which the static stage would paper over.
    max_gaussians=30_000,
)

ModelHiddenParams = dict(
    expression_input=True,
    # Published: both inputs. In a video the time alone tells the frame, so the expression is not
    # needed, and nothing is learned that another performance could drive.
    time_input=False,
    code_width=30,
    kplanes_config=dict(output_coordinate_dim=16, resolution=[64, 64, 64, 75]),
    # Published: four levels, two layers of 256. A real speaker's scores are those of three levels
    # and a width of 128, in three fifths of the time: what is learned is no detail, but a motion.
    multires=[1, 2],
    defor_depth=1,
    net_width=64,
    plane_tv_weight=2e-4,
    time_smoothness_weight=1e-3,
    l1_time_planes=1e-3,
)
