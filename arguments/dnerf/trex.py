_base_ = "dnerf_default.py"

ModelHiddenParams = dict(
    kplanes_config=dict(resolution=[64, 64, 64, 100]),  # half of the 200 training moments
)
