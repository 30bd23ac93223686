# A person's own video (scripts/make_avatar.py), 256x256, on a schedule of minutes: linear bases,
# and a body that follows the head.
_base_ = "blendshapes.py"

# The head model lies in the subject's folder; video folders named test... are held out.
DataParams = dict(torso_points=3_000)
ModelParams = dict(resolution=256, init_points=12_000, sh_degree=1)

OptimizationParams = dict(
    coarse_iterations=300,
    iterations=5_000,
    lambda_dssim=0.2,
    densification_interval=200,
    max_gaussians=20_000,
)
