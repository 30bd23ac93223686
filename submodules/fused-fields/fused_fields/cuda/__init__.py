"""The host side of the CUDA kernels: allocate with torch, launch, sort and add up with torch.

Every function takes, last, `kernels`: called with defines it returns compiled kernels for the
device of the tensors. It is `functools.partial(PROGRAM.kernels, device)` on a GPU; tests pass an
emulation and CPU tensors. Nothing here waits for the device.
"""

from .activate import activate, activate_backward
from .adam import adam_step
from .bases import mix_bases, mix_bases_backward
from .carry import carry, carry_backward
from .errors import mean_error, mean_error_backward
from .plane_lookup import lookup, lookup_backward
from .plane_penalties import plane_penalties
from .program import PROGRAM, VARIANTS
from .similarity import ssim, ssim_backward
from .skinning import skin, skin_backward
from .turned_copies import turn_copies, turn_copies_backward

__all__ = [
    "PROGRAM",
    "VARIANTS",
    "activate",
    "activate_backward",
    "adam_step",
    "carry",
    "carry_backward",
    "lookup",
    "lookup_backward",
    "mean_error",
    "mean_error_backward",
    "mix_bases",
    "mix_bases_backward",
    "plane_penalties",
    "skin",
    "skin_backward",
    "ssim",
    "ssim_backward",
    "turn_copies",
    "turn_copies_backward",
]
