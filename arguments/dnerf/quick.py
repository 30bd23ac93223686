# Any folder in the layout of D-NeRF, on a short schedule and with what makes a step cheap.
_base_ = "default.py"

OptimizationParams = dict(
    coarse_iterations=500,
    iterations=2_500,
    thin_share=0.5,  # half of the Gaussians hardly shows
)

ModelHiddenParams = dict(
    follow="never",  # to ask what moves takes as long as a third of this schedule
    shared_hidden=True,
    plane_interval=5,
)
