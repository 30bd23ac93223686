# Any folder in the layout of D-NeRF: transforms_{train,val,test}.json and RGBA images.
_base_ = "dnerf_default.py"

ModelHiddenParams = dict(
    # x, y, z, time: about half as many time rows as the clip has moments
    kplanes_config=dict(resolution=[64, 64, 64, 50]),
)
