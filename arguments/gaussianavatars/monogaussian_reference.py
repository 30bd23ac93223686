# MonoGaussianAvatar with every defect of the released code, on the layout
# of GaussianAvatars and VHAP. --head_model names your FLAME 2023.
_base_ = "../imavatar/monogaussian_reference.py"
dataset = "gaussianavatars"

# Its sizes are those of IMavatar's world, FLAME's metres times four. Here they would put its first
# points about the camera, and nothing into the picture.
ModelHiddenParams = dict(reference_units=False)
