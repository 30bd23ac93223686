# MonoGaussianAvatar with every defect of the released code, on the layout
# of GaussianAvatars and VHAP. --head_model names your FLAME 2023.
_base_ = "../imavatar/monogaussian_reference.py"
dataset = "gaussianavatars"
