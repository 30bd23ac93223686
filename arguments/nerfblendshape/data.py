# Folders in the layout of NeRFBlendShape and GaussianHead, for every method.
dataset = "nerfblendshape"

# Published by GaussianHead: 10,000 random points; the last 50 of 1,000 frames held out test. Here
# the last 500 test, NeRFBlendShape's own protocol, or as many as hold_out says.
ModelParams = dict(init_points=10_000)
