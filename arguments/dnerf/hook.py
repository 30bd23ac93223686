_base_ = "dnerf_default.py"

ModelHiddenParams = dict(
    # A row for every four of the 100 training moments.
    kplanes_config=dict(resolution=[64, 64, 64, 25]),
)
