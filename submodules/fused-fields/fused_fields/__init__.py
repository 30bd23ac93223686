"""CPU kernels for plane fields (HexPlane, tri-plane), their regularisers, an MLP, and SSIM.

Every function takes CPU tensors of float32 or float64 to native code, and any other tensor to a
PyTorch twin with the same contract (`fused_fields.reference`). Planes are "rows cols C".
"""

from ._native import variant
from .mlp import offset_mlp
from .penalties import PlanePenalties, plane_penalties
from .planes import HEXPLANE_PAIRS, TRIPLANE_PAIRS, plane_features
from .similarity import ssim

__all__ = [
    "HEXPLANE_PAIRS",
    "TRIPLANE_PAIRS",
    "PlanePenalties",
    "offset_mlp",
    "plane_features",
    "plane_penalties",
    "ssim",
    "variant",
]
