"""Kernels for plane fields (HexPlane, tri-plane), their regularisers, an MLP, linear bases,
skinning, SSIM and Adam.

Every function takes float32 and float64 tensors to native code on the CPU and to CUDA kernels on a
GPU, and any other tensor to a PyTorch twin with the same contract (`fused_fields.reference`).
Planes are "rows cols C".
"""

from ._native import variant
from .adam import adam_step
from .bases import mix_bases
from .mlp import offset_mlp
from .penalties import PlanePenalties, plane_penalties
from .planes import HEXPLANE_PAIRS, TRIPLANE_PAIRS, plane_features
from .similarity import ssim
from .skinning import skin

__all__ = [
    "HEXPLANE_PAIRS",
    "TRIPLANE_PAIRS",
    "PlanePenalties",
    "adam_step",
    "mix_bases",
    "offset_mlp",
    "plane_features",
    "plane_penalties",
    "skin",
    "ssim",
    "variant",
]
