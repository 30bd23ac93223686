"""Plane regularisers and their gradient: kernels of csrc/cuda/plane_penalties.cuh."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from ctypes import c_double, c_int32, c_void_p

import torch
from native_kernels import members
from nvrtc_launch import Kernels
from torch import Tensor

from .program import THREADS, blocks_for, channels_last

MOST_PLANES = 48  # of one launch; kMostPlanes in csrc/cuda/plane_penalties.cuh
PACKS_PER_THREAD = 8  # kPacksPerThread there


class PenaltyPlane(ctypes.Structure):
    """Mirrors `PenaltyPlane` in csrc/cuda/plane_penalties.cuh."""

    _fields_ = members(
        values=c_void_p, grad=c_void_p, share=c_double * 3, rows=c_int32, cols=c_int32
    )


class PenaltyPlanes(ctypes.Structure):
    """Mirrors `PenaltyPlanes` in csrc/cuda/plane_penalties.cuh."""

    _fields_ = members(planes=PenaltyPlane * MOST_PLANES)


def penalties(planes: list[Tensor], kernels: Callable[..., Kernels]) -> Tensor:
    """Terms "P 3": rows, cols, ones."""
    defines = channels_last(planes)
    run, terms = kernels(**defines), []
    for some in _launches(planes):
        largest = max(plane.numel() for plane in some) // defines["VECTOR"]
        blocks = blocks_for(largest, THREADS * PACKS_PER_THREAD)
        sums = planes[0].new_empty(len(some), blocks, 3, dtype=torch.float64)
        grid = (blocks, len(some))
        run.launch("penalties_forward", grid, THREADS, _lay_out(some, some), sums)
        terms.append(sums.sum(dim=1))
    return torch.cat(terms).to(planes[0].dtype)


def penalties_backward(
    grad: Tensor, planes: list[Tensor], kernels: Callable[..., Kernels]
) -> list[Tensor]:
    """Gradients of the planes from that of the terms "P 3"."""
    defines = channels_last(planes)
    run, grads = kernels(**defines), [torch.empty_like(plane) for plane in planes]
    for first, some in enumerate(_launches(planes)):
        rows = slice(first * MOST_PLANES, first * MOST_PLANES + len(some))
        largest = max(plane.numel() for plane in some) // defines["VECTOR"]
        run.launch("penalties_backward", (blocks_for(largest), len(some)), THREADS,
                   _lay_out(some, grads[rows]), grad[rows])  # fmt: skip
    return grads


def _launches(planes: list[Tensor]) -> Iterator[list[Tensor]]:
    for first in range(0, len(planes), MOST_PLANES):
        yield planes[first : first + MOST_PLANES]


def _lay_out(planes: list[Tensor], grads: list[Tensor]) -> PenaltyPlanes:
    layout = PenaltyPlanes()
    for k, (plane, grad) in enumerate(zip(planes, grads, strict=True)):
        rows, cols, channels = plane.shape
        averaged = (max(rows - 2, 0) * cols, rows * max(cols - 2, 0), rows * cols)
        share = (c_double * 3)(*(1 / (n * channels) if n else 0.0 for n in averaged))
        layout.planes[k] = PenaltyPlane(plane.data_ptr(), grad.data_ptr(), share, rows, cols)
    return layout
