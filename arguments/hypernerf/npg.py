# Neural Parametric Gaussians on captures in the layout of HyperNeRF, of which masks cut the subject
# out: --mask_folder names them. The rest of the room is not part of the model.
_base_ = "../ub4d/npg.py"
dataset = "hypernerf"

ModelParams = dict(resolution=2)
