# Neural Parametric Gaussians with the published networks, numbers and schedules, for a GPU. The
# weights of the coarse stage are ours, which know no unit; npg_reference.py has the released ones.
_base_ = "../dnerf/npg_paper.py"
dataset = "ub4d"

ModelParams = dict(resolution=-1, init_points=10_000)

ModelHiddenParams = dict(
    n_points=1_500,
    n_shapes=25,
    # Published: 30, with which every frame has a number of its own and nothing lies between two.
    octaves=8,
)

OptimizationParams = dict(coarse_side=640)
