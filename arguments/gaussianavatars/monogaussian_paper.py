# MonoGaussianAvatar with the published networks and numbers, on the layout
# of GaussianAvatars and VHAP. --head_model names your FLAME 2023.
_base_ = "../imavatar/monogaussian_paper.py"
dataset = "gaussianavatars"
