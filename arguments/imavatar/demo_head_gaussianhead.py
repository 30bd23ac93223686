# GaussianHead on the talking head of `make demo-head`, in about the time of
# demo_head_fourdgs.py. For comparison with it.
_base_ = "gaussianhead.py"

DataParams = dict(head_model="data/demo_head/head_model.npz", test_videos=["test", "driving"])
ModelParams = dict(init_points=12_000, sh_degree=1)

OptimizationParams = dict(
    iterations=4_600,
    warm_up=300,
    densification_interval=200,
    max_gaussians=20_000,
)
