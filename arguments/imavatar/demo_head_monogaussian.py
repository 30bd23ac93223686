# MonoGaussianAvatar on the talking head of `make demo-head`, in about the time of
# demo_head_fourdgs.py. For comparison with it.
_base_ = "monogaussian.py"

DataParams = dict(head_model="data/demo_head/head_model.npz", test_videos=["test", "driving"])

# Its coefficients are the truth; there is nothing to refine.
ModelHiddenParams = dict(refine_expression=False, refine_flame_pose=False)

OptimizationParams = dict(iterations=4_000, max_gaussians=20_000)
