# Things that move far and fast, and little that stands still: `default.py` whose Gaussians ride on
# control points whatever a check says. No static stage: nothing of it would be left.
_base_ = "default.py"

ModelHiddenParams = dict(follow="always")

OptimizationParams = dict(coarse_iterations=0)
