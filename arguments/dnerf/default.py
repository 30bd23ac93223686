# Any folder in the layout of D-NeRF: transforms_{train,val,test}.json and RGBA images.
_base_ = "dnerf_default.py"

OptimizationParams = dict(
    sharpen_iterations=600,  # scene10 gains 0.2 to 0.8 dB, others lose and gain 0.3 at most
    spin_turns=4.0,  # scene10's ball makes three
)

ModelHiddenParams = dict(
    follow="auto",  # on control points, where nothing static explains the clip
    # x, y, z, time: about a time row for every four moments; more rows fit single views
    kplanes_config=dict(resolution=[64, 64, 64, 25]),
)
