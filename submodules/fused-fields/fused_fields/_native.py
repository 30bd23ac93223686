"""What runs a call: the shared library, CUDA kernels, or neither; and how to call either."""

from __future__ import annotations

import ctypes
import os
import warnings
from collections.abc import Sequence
from functools import cache, lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

LIBRARY = Path(__file__).parent / "libfused_fields.so"
VARIABLE = "FUSED_FIELDS_VARIANT"  # portable | avx2 | avx512 | reference (the PyTorch twins)
SUFFIX = {torch.float32: "f32", torch.float64: "f64"}

_pointer, _i32, _i64 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64


class FieldPlane(ctypes.Structure):
    """Mirrors `FieldPlane` in csrc/api.h."""

    _fields_ = (
        ("values", _pointer),
        ("grad", _pointer),
        ("rows", _i32),
        ("cols", _i32),
        ("col_axis", _i32),
        ("row_axis", _i32),
    )


class Field(ctypes.Structure):
    """Mirrors `Field` in csrc/api.h."""

    _fields_ = (
        ("planes", ctypes.POINTER(FieldPlane)),
        ("levels", _i32),
        ("planes_per_level", _i32),
        ("channels", _i32),
        ("axes", _i32),
        ("time", ctypes.c_double),
    )


class PenaltyPlane(ctypes.Structure):
    """Mirrors `PenaltyPlane` in csrc/api.h."""

    _fields_ = (("values", _pointer), ("grad", _pointer), ("rows", _i32), ("cols", _i32))


class SsimShape(ctypes.Structure):
    """Mirrors `SsimShape` in csrc/api.h."""

    _fields_ = (("images", _i64), ("height", _i32), ("width", _i32), ("margin", _i32))


class DenseLayer(ctypes.Structure):
    """Mirrors `DenseLayer` in csrc/api.h."""

    _fields_ = (
        ("weight", _pointer),
        ("bias", _pointer),
        ("grad_weight", _pointer),
        ("grad_bias", _pointer),
        ("inputs", _i32),
        ("outputs", _i32),
    )


class OffsetMlp(ctypes.Structure):
    """Mirrors `OffsetMlp` in csrc/api.h."""

    _fields_ = (("layers", ctypes.POINTER(DenseLayer)), ("body", _i32), ("heads", _i32), ("sigmoid", _i32))


class AdamTensor(ctypes.Structure):
    """Mirrors `AdamTensor` in csrc/api.h."""

    _fields_ = (
        ("param", _pointer),
        ("grad", _pointer),
        ("exp_avg", _pointer),
        ("exp_avg_sq", _pointer),
        ("rows", _i64),
        ("row_size", _i64),
        ("rate", ctypes.c_double),
        ("spread", ctypes.c_double),
    )


class AdamStep(ctypes.Structure):
    """Mirrors `AdamStep` in csrc/api.h."""

    _fields_ = (
        ("tensors", ctypes.POINTER(AdamTensor)),
        ("count", _i32),
        ("beta1", ctypes.c_double),
        ("beta2", ctypes.c_double),
        ("eps", ctypes.c_double),
    )


def _signatures(real: type) -> dict[str, list[type]]:
    return {
        "lookup_forward": [_pointer, _pointer, _i64, _pointer, _i32],
        "lookup_backward": [_pointer, _pointer, _i64, _pointer, _pointer, _i32],
        "penalties_forward": [_pointer, _i32, _i32, _pointer, _i32],
        "penalties_backward": [_pointer, _i32, _i32, _pointer, _i32],
        "ssim_forward": [_pointer, _pointer, _pointer, _pointer, _pointer, _i32],
        "ssim_backward": [*[_pointer] * 4, real, _pointer, _pointer, _i32],
        "mlp_forward": [_pointer, _pointer, _i64, _pointer, _i32],
        "mlp_backward": [_pointer, _pointer, _i64, _pointer, _pointer, _i32],
        "adam_step": [_pointer, _pointer, _i32],
    }


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """The loaded library, or None (with one warning) where the package has none it can use."""
    wanted = os.environ.get(VARIABLE, "")
    if wanted == "reference":
        return None
    if not LIBRARY.exists():
        warnings.warn(
            "fused_fields has no native kernels and runs on slow PyTorch code; install a C++ "
            "compiler (or `pip install ziglang`) and reinstall the package",
            stacklevel=3,
        )
        return None
    try:
        loaded = ctypes.CDLL(str(LIBRARY))
        _declare(loaded)
    except (OSError, AttributeError) as error:
        raise ImportError(
            f"{LIBRARY} is broken or from another version; reinstall fused-fields ({error})"
        ) from error
    if wanted and loaded.ff_select(wanted.encode()):
        raise ImportError(
            f"{VARIABLE} is {wanted!r}, which this processor or build cannot run; "
            "expected portable, avx2, avx512 or reference, or leave it unset"
        )
    return loaded


def _declare(loaded: ctypes.CDLL) -> None:
    loaded.ff_variant.restype = ctypes.c_char_p
    loaded.ff_select.argtypes = [ctypes.c_char_p]
    for suffix, real in (("f32", ctypes.c_float), ("f64", ctypes.c_double)):
        for name, arguments in _signatures(real).items():
            getattr(loaded, f"ff_{name}_{suffix}").argtypes = arguments


def variant() -> str:
    """What runs on the CPU: "avx512", "avx2", "portable", or "reference" (plain PyTorch)."""
    loaded = library()
    return "reference" if loaded is None else loaded.ff_variant().decode()


def runs_on(tensors: Sequence[Tensor], *, devices: Sequence[str] = ("cpu", "cuda")) -> bool:
    """Whether kernels can take these tensors, all of one device; otherwise the twins do.

    devices: those that the function has kernels for.
    """
    device = tensors[0].device
    if device.type not in devices or any(t.dtype not in SUFFIX for t in tensors):
        return False
    return library() is not None if device.type == "cpu" else _gpu_runs(device)


@cache
def _gpu_runs(device: torch.device) -> bool:
    """Whether the CUDA kernels run there; where they do not, one warning says why."""
    if os.environ.get(VARIABLE) == "reference":
        return False
    reason = _why_no_gpu(device)
    if reason is not None:
        warnings.warn(f"fused_fields runs on slow PyTorch code on {device}: {reason}", stacklevel=5)
    return reason is None


def _why_no_gpu(device: torch.device) -> str | None:
    if find_spec("nvrtc_launch") is None:
        return "nvrtc_launch is missing; pip install ./submodules/nvrtc-launch"
    from nvrtc_launch import why_not

    return why_not(device)


def call(name: str, dtype: torch.dtype, *arguments: object) -> None:
    """Call a kernel with torch's thread count; tensors become pointers and None becomes null."""
    function = getattr(library(), f"ff_{name}_{SUFFIX[dtype]}")
    plain = [a.data_ptr() if isinstance(a, Tensor) else a for a in arguments]
    if function(*plain, torch.get_num_threads()):
        raise MemoryError(f"fused_fields.{name}: not enough memory for the scratch buffers")


def call_gpu(name: str, device: torch.device, *arguments: Any) -> Any:
    """Call the function of that name of `fused_fields.cuda` with the kernels of a device."""
    from . import cuda  # needs nvrtc_launch, which a CPU can do without

    return getattr(cuda, name)(*arguments, partial(cuda.PROGRAM.kernels, device))
