"""Sums of linear bases and their gradients: the kernels of csrc/cuda/mix_bases.cuh."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import c_int32, c_int64, c_void_p

import torch
from native_kernels import members
from nvrtc_launch import Kernels
from torch import Tensor

from .program import THREADS, blocks_for, numbers

ROWS_PER_BLOCK = 64  # of the backward pass; kRowsPerBlock in csrc/cuda/mix_bases.cuh


class BasisTable(ctypes.Structure):
    """Mirrors `BasisTable` in csrc/cuda/mix_bases.cuh."""

    _fields_ = members(
        bases=c_void_p, grad=c_void_p, rows=c_int64, count=c_int32, width=c_int32, half=c_int32
    )


def mix_bases(bases: Tensor, weights: Tensor, kernels: Callable[..., Kernels]) -> Tensor:
    """Sums "N C" of `bases` "N K C" times `weights` "K C"."""
    sums = weights.new_empty(len(bases), bases.shape[2])
    run = kernels(**numbers(weights.dtype))
    if sums.numel():
        blocks = blocks_for(sums.numel())
        run.launch("mix_forward", blocks, THREADS, _table(bases, None), weights, sums)
    return sums


def mix_bases_backward(
    grad: Tensor,
    bases: Tensor,
    weights: Tensor,
    wants_bases: bool,
    kernels: Callable[..., Kernels],
) -> tuple[Tensor, Tensor]:
    """Gradients of bases, empty where they are not wanted, and of weights."""
    found = weights.new_empty(bases.shape if wants_bases else (0,))
    blocks = blocks_for(len(bases), ROWS_PER_BLOCK)
    parts = weights.new_empty(blocks, *weights.shape)
    run = kernels(**numbers(weights.dtype))
    if bases.numel():
        table = _table(bases, found if wants_bases else None)
        run.launch("mix_backward", blocks, THREADS, table, weights, grad, parts)
    return found, parts.sum(0, dtype=torch.float64).to(weights.dtype)


def _table(bases: Tensor, grad: Tensor | None) -> BasisTable:
    address = None if grad is None else grad.data_ptr()
    return BasisTable(bases.data_ptr(), address, *bases.shape, bases.dtype == torch.float16)
