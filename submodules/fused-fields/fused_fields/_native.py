"""What runs a call: the shared library, CUDA kernels, or neither; and how to call either."""

from __future__ import annotations

import ctypes
import os
import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from native_kernels import Library, members
from native_kernels.operators import Operators
from torch import Tensor

OPERATORS = Operators("fused_fields")
SUFFIX = {torch.float32: "f32", torch.float64: "f64"}

_pointer, _i32, _i64 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64


class FieldPlane(ctypes.Structure):
    """Mirrors `FieldPlane` in csrc/api.h."""

    _fields_ = members(
        values=_pointer, grad=_pointer, rows=_i32, cols=_i32, col_axis=_i32, row_axis=_i32
    )


class Field(ctypes.Structure):
    """Mirrors `Field` in csrc/api.h."""

    _fields_ = members(
        planes=ctypes.POINTER(FieldPlane), levels=_i32, planes_per_level=_i32, channels=_i32,
        axes=_i32, time=ctypes.c_double, feature_step=_i64,
    )  # fmt: skip


class PenaltyPlane(ctypes.Structure):
    """Mirrors `PenaltyPlane` in csrc/api.h."""

    _fields_ = members(
        values=_pointer, grad=_pointer, rows=_i32, cols=_i32, weights=ctypes.c_double * 3
    )


class CarriedRows(ctypes.Structure):
    """Mirrors `CarriedRows` in csrc/api.h."""

    _fields_ = members(means=_pointer, quats=_pointer, logits=_pointer, motion=_pointer, rows=_i64)


class Picture(ctypes.Structure):
    """Mirrors `Picture` in csrc/api.h."""

    _fields_ = members(
        bytes=_pointer, background=_pointer, image=_pointer, alpha=_pointer, pixels=_i64,
        channels=_i32, plain=_i32,
    )  # fmt: skip


class SsimShape(ctypes.Structure):
    """Mirrors `SsimShape` in csrc/api.h."""

    _fields_ = members(images=_i64, height=_i32, width=_i32, margin=_i32)


class DenseLayer(ctypes.Structure):
    """Mirrors `DenseLayer` in csrc/api.h."""

    _fields_ = members(
        weight=_pointer, bias=_pointer, grad_weight=_pointer, grad_bias=_pointer, inputs=_i32,
        outputs=_i32,
    )  # fmt: skip


class OffsetMlp(ctypes.Structure):
    """Mirrors `OffsetMlp` in csrc/api.h."""

    _fields_ = members(
        layers=ctypes.POINTER(DenseLayer), body=_i32, heads=_i32, sigmoid=_i32, again=_i32,
        bf16=_i32, part_count=_i32, parts=ctypes.POINTER(_i32), feature_count=_i32,
        feature_widths=ctypes.POINTER(_i32),
    )  # fmt: skip


class EncodedTable(ctypes.Structure):
    """Mirrors `EncodedTable` in csrc/api.h."""

    _fields_ = members(
        points=_pointer, encoded=_pointer, grad_points=_pointer, rows=_i64, octaves=_i32
    )


class AdamTensor(ctypes.Structure):
    """Mirrors `AdamTensor` in csrc/api.h."""

    _fields_ = members(
        param=_pointer, grad=_pointer, exp_avg=_pointer, exp_avg_sq=_pointer, rows=_i64,
        row_size=_i64, rate=ctypes.c_double, spread=ctypes.c_double,
    )  # fmt: skip


class AdamStep(ctypes.Structure):
    """Mirrors `AdamStep` in csrc/api.h."""

    _fields_ = members(
        tensors=ctypes.POINTER(AdamTensor), count=_i32, beta1=ctypes.c_double,
        beta2=ctypes.c_double, eps=ctypes.c_double,
    )  # fmt: skip


class BasisTable(ctypes.Structure):
    """Mirrors `BasisTable` in csrc/api.h."""

    _fields_ = members(
        bases=_pointer, grad=_pointer, rows=_i64, count=_i32, width=_i32, half=_i32, share=_pointer
    )  # fmt: skip


class AddedColumns(ctypes.Structure):
    """Mirrors `AddedColumns` in csrc/api.h."""

    _fields_ = members(
        from_=ctypes.POINTER(_pointer), to=ctypes.POINTER(_pointer), widths=ctypes.POINTER(_i32),
        count=_i32,
    )  # fmt: skip


class SkinTable(ctypes.Structure):
    """Mirrors `SkinTable` in csrc/api.h."""

    _fields_ = members(
        points=_pointer, shifts=_pointer, weights=_pointer, quats=_pointer, rows=_i64, bones=_i32
    )


class MovedColumn(ctypes.Structure):
    """Mirrors `MovedColumn` in csrc/api.h."""

    _fields_ = members(
        from_=_pointer, offset=_pointer, to=_pointer, numbers=_i64, limit=ctypes.c_double
    )


class TurnedTable(ctypes.Structure):
    """Mirrors `TurnedTable` in csrc/api.h."""

    _fields_ = members(
        points=_pointer, quats=_pointer, grad_points=_pointer, grad_quats=_pointer, rows=_i64,
        copies=_i32,
    )  # fmt: skip


class UnitTable(ctypes.Structure):
    """Mirrors `UnitTable` in csrc/api.h."""

    _fields_ = members(from_=_pointer, origin=_pointer, to=_pointer, rows=_i64, width=_i32)


class TableShape(ctypes.Structure):
    """Mirrors `TableShape` in csrc/api.h."""

    _fields_ = members(rows=_i64, bands=_i32, rest=_i32)


class RawColumns(ctypes.Structure):
    """Mirrors `RawColumns` in csrc/api.h."""

    _fields_ = members(
        quats=_pointer, log_scales=_pointer, opacity_logits=_pointer, sh_dc=_pointer,
        sh_rest=_pointer,
    )  # fmt: skip


class DrawnColumns(ctypes.Structure):
    """Mirrors `DrawnColumns` in csrc/api.h."""

    _fields_ = members(quats=_pointer, scales=_pointer, opacities=_pointer, sh=_pointer)


def _signatures(real: type) -> dict[str, list[type]]:
    return {
        "lookup_forward": [_pointer, _pointer, _i64, _pointer, _i32],
        "lookup_backward": [_pointer, _pointer, _i64, _pointer, _pointer, _i32],
        "plane_penalties": [_pointer, _i32, _i32, _pointer, _i32],
        "composite": [_pointer, _i32],
        "carry_forward": [*[_pointer] * 3, _i32],
        "carry_backward": [*[_pointer] * 7, _i32],
        "ssim_forward": [_pointer, _pointer, _pointer, _pointer, _pointer, _i32],
        "ssim_backward": [*[_pointer] * 4, real, _pointer, _pointer, _i32],
        "mlp_forward": [_pointer, _pointer, _i64, _pointer, _i32],
        "mlp_backward": [_pointer, _pointer, _i64, _pointer, _pointer, _i32],
        "adam_step": [_pointer, _pointer, _i32],
        "sphere_step": [_pointer, _i32],
        "mix_forward": [*[_pointer] * 3, _i32],
        "mix_onto": [*[_pointer] * 3, _i32],
        "mix_backward": [*[_pointer] * 4, _i32],
        "skin_forward": [*[_pointer] * 5, _i32],
        "skin_backward": [*[_pointer] * 10, _i32],
        "activate_forward": [*[_pointer] * 3, _i32],
        "activate_backward": [*[_pointer] * 5, _i32],
        "add_offsets_forward": [_pointer, _i32, _i32],
        "add_offsets_backward": [_pointer, _i32, _i32],
        "error_forward": [_pointer, _pointer, _i64, _i32, _pointer, _i32],
        "error_backward": [_pointer, _pointer, _i64, _i32, real, _pointer, _i32],
        "encode_forward": [_pointer, _i32],
        "encode_backward": [_pointer, _pointer, _i32],
        "turn_forward": [_pointer, _pointer, _i32],
        "turn_backward": [_pointer, _pointer, _i32],
        "unit_rows": [_pointer, _pointer, _i32],
    }


def _declare(loaded: ctypes.CDLL) -> None:
    """Take the functions from the table of csrc/kernels.cpp."""
    for suffix, real in (("f32", ctypes.c_float), ("f64", ctypes.c_double)):
        for name, arguments in _signatures(real).items():
            symbol = f"ff_{name}_{suffix}"
            setattr(loaded, symbol, ctypes.CFUNCTYPE(_i32, *arguments).in_dll(loaded, symbol))


def bf16_form() -> int:
    """How bfloat16 is multiplied here: 1 rounded floats, 2 pairs (AVX-512), 3 tiles (AMX)."""
    return library().ff_bf16_form()


LIBRARY = Library(Path(__file__).resolve().parent, _declare)


def library() -> ctypes.CDLL | None:
    """The loaded library, or None (with one warning) where the package has none it can use."""
    return LIBRARY.load() if _is_wanted() else None


@cache
def _is_wanted() -> bool:
    if os.environ.get(LIBRARY.variable) == "reference":
        return False
    if reason := LIBRARY.why_not():
        warnings.warn(f"fused_fields runs on slow PyTorch code: {reason}", stacklevel=4)
    return reason is None


def variant() -> str:
    """What runs on the CPU: "avx512", "avx2", "portable", or "reference" (plain PyTorch)."""
    return "reference" if library() is None else LIBRARY.variant()


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
    if os.environ.get(LIBRARY.variable) == "reference":
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


def on_gpu(name: str) -> Callable[..., Any]:
    """The CUDA body of an operator: the function of that name of `fused_fields.cuda`."""

    def run(*arguments: Any) -> Any:
        from . import cuda  # needs nvrtc_launch, which a CPU can do without

        first = arguments[0] if isinstance(arguments[0], Tensor) else arguments[0][0]
        return getattr(cuda, name)(*arguments, partial(cuda.PROGRAM.kernels, first.device))

    return run
