_base_ = "dnerf_default.py"

ModelHiddenParams = dict(
    kplanes_config=dict(resolution=[64, 64, 64, 25]),  # a row for four of 100 moments
)
