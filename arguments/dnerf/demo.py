# The scene of `make demo`: a D-NeRF folder of 100 training views at 200x200.
_base_ = "dnerf_default.py"

OptimizationParams = dict(coarse_iterations=500, iterations=2_500)
