"""Kernels for plane fields (HexPlane, tri-plane), their regularisers, an MLP, linear bases,
skinning, turned and carried points, the columns of a table of Gaussians, errors of pictures, SSIM
and Adam.

Every function takes float32 and float64 tensors to native code on the CPU and to CUDA kernels on a
GPU, and any other tensor to a PyTorch twin with the same contract (`fused_fields.reference`).
Planes are "rows cols C".
"""

from ._native import variant
from .activate import activate
from .adam import adam_step
from .bases import add_bases, mix_bases
from .carry import carry
from .encode import encode
from .errors import mean_error
from .mlp import offset_mlp
from .offsets import add_offsets
from .penalties import add_plane_penalties
from .pictures import composite
from .planes import HEXPLANE_PAIRS, TRIPLANE_PAIRS, copy_features, plane_features
from .similarity import ssim
from .skinning import skin
from .sphere import sphere_step
from .turned_copies import turn_copies
from .unit import unit_rows

__all__ = [
    "HEXPLANE_PAIRS",
    "TRIPLANE_PAIRS",
    "activate",
    "adam_step",
    "add_bases",
    "add_offsets",
    "add_plane_penalties",
    "carry",
    "composite",
    "copy_features",
    "encode",
    "mean_error",
    "mix_bases",
    "offset_mlp",
    "plane_features",
    "skin",
    "sphere_step",
    "ssim",
    "turn_copies",
    "unit_rows",
    "variant",
]
