# The scene of `make demo`: a D-NeRF folder of 100 training views at 200x200, on a short schedule.
_base_ = "default.py"

OptimizationParams = dict(coarse_iterations=500, iterations=2_500)

ModelHiddenParams = dict(follow="never")  # most of the robot stands still: no need to ask
