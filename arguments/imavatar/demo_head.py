# The talking head of `make demo-head` (scripts/make_demo_head.py), 256x256, on a short schedule.
_base_ = "blendshapes.py"

DataParams = dict(head_model="data/demo_head/head_model.npz", test_videos=["test", "driving"])
ModelParams = dict(init_points=12_000, sh_degree=1)

ModelHiddenParams = dict(
    n_bases=30,  # ten more than usual are worth half a decibel of the mouth
    head_motion_input=False,  # the FLAME pose says how this head moves, and there is no torso
)

OptimizationParams = dict(
    coarse_iterations=300,
    iterations=2_500,
    # Drawn pictures hold no errors of a tracker: noise would shrink every motion, 0.3 by 8 %.
    code_noise=0.0,
    lambda_l2=0.0,  # for the same reason: it loses 0.1 dB
    lambda_dssim=0.2,
    lambda_regions=0.0,  # at 1 the whole picture loses 0.5 dB, and the mouth gains nothing
    densification_interval=200,
    max_gaussians=20_000,
    thin_share=0.3,  # a third of the file, and 0.0 dB
)
