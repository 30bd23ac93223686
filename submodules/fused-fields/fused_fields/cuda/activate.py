"""Columns of a table of Gaussians, activated: the kernels of csrc/cuda/activate.cuh."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from ctypes import c_int32, c_int64, c_void_p

import torch
from native_kernels import members
from nvrtc_launch import Kernels
from torch import Tensor

from .program import THREADS, blocks_for, numbers


class TableShape(ctypes.Structure):
    """Mirrors `TableShape` in csrc/cuda/activate.cuh."""

    _fields_ = members(rows=c_int64, bands=c_int32, rest=c_int32)


class RawColumns(ctypes.Structure):
    """Mirrors `RawColumns` in csrc/cuda/activate.cuh."""

    _fields_ = members(
        quats=c_void_p, log_scales=c_void_p, opacity_logits=c_void_p, sh_dc=c_void_p,
        sh_rest=c_void_p,
    )  # fmt: skip


class DrawnColumns(ctypes.Structure):
    """Mirrors `DrawnColumns` in csrc/cuda/activate.cuh."""

    _fields_ = members(quats=c_void_p, scales=c_void_p, opacities=c_void_p, sh=c_void_p)


def activate(
    quats: Tensor,
    log_scales: Tensor,
    opacity_logits: Tensor,
    sh_dc: Tensor,
    sh_rest: Tensor,
    bands: int,
    kernels: Callable[..., Kernels],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Unit quats "N 4", scales "N 3", opacities "N 1" and SH "N bands 3"."""
    raw = [quats, log_scales, opacity_logits, sh_dc, sh_rest]
    sh = sh_dc.new_empty(len(sh_dc), bands, 3)
    drawn = (*map(torch.empty_like, (quats, log_scales, opacity_logits)), sh)
    if len(quats):
        kernels(**numbers(quats.dtype)).launch(
            "activate_forward", blocks_for(len(quats)), THREADS, _shape(raw, sh),
            RawColumns(*_addresses(raw)), DrawnColumns(*_addresses(drawn)),
        )  # fmt: skip
    return drawn


def activate_backward(
    grads: list[Tensor], raw: list[Tensor], drawn: list[Tensor], kernels: Callable[..., Kernels]
) -> list[Tensor]:
    """Gradients of the raw columns from those of what is drawn."""
    found = [torch.empty_like(tensor) for tensor in raw]
    if len(raw[0]):
        kernels(**numbers(raw[0].dtype)).launch(
            "activate_backward", blocks_for(len(raw[0])), THREADS, _shape(raw, drawn[3]),
            RawColumns(*_addresses(raw)), DrawnColumns(*_addresses(drawn)),
            DrawnColumns(*_addresses(grads)), RawColumns(*_addresses(found)),
        )  # fmt: skip
    return found


def _shape(raw: list[Tensor], sh: Tensor) -> TableShape:
    return TableShape(len(sh), sh.shape[1], raw[4].shape[1])


def _addresses(tensors: Sequence[Tensor]) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]
