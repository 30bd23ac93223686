# Hell Warrior: what is published for it and not in npg_paper.py.
_base_ = "npg_paper.py"

ModelHiddenParams = dict(octaves=8)

OptimizationParams = dict(rest_time=9 / 99)
