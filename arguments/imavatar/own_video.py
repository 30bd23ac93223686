# A person's own video (scripts/make_avatar.py), 256x256, on a schedule of minutes.
_base_ = "demo_head.py"

# The head model lies in the subject's folder; video folders named test... are held out.
DataParams = dict(head_model="", test_videos=[])
ModelParams = dict(resolution=256)
OptimizationParams = dict(coarse_iterations=300, iterations=4_000)
