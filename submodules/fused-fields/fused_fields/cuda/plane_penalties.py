"""Plane regularisers and their gradient: kernels of csrc/cuda/plane_penalties.cuh."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
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


def plane_penalties(
    planes: list[Tensor], grads: list[Tensor], weights: list[float], kernels: Callable[..., Kernels]
) -> Tensor:
    """The weighted sum of all terms, a scalar; its gradient is added to `grads`."""
    defines = channels_last(planes)
    run, found = kernels(**defines), []
    for first in range(0, len(planes), MOST_PLANES):
        some = slice(first, first + MOST_PLANES)
        layout = _lay_out(planes[some], grads[some], weights[3 * first :])
        largest = max(plane.numel() for plane in planes[some]) // defines["VECTOR"]
        blocks, count = blocks_for(largest, THREADS * PACKS_PER_THREAD), len(planes[some])
        sums = planes[0].new_empty(count, blocks, 3, dtype=torch.float64)
        run.launch("sum_penalties", (blocks, count), THREADS, layout, sums)
        run.launch("add_pulls", (blocks_for(largest), count), THREADS, layout)
        found.append(sums.sum())
    return torch.stack(found).sum().to(planes[0].dtype)


def _lay_out(planes: list[Tensor], grads: list[Tensor], weights: list[float]) -> PenaltyPlanes:
    layout = PenaltyPlanes()
    for k, (plane, grad) in enumerate(zip(planes, grads, strict=True)):
        rows, cols, channels = plane.shape
        averaged = (max(rows - 2, 0) * cols, rows * max(cols - 2, 0), rows * cols)
        terms = zip(weights[3 * k : 3 * k + 3], averaged, strict=True)
        share = (c_double * 3)(*(weight / (n * channels) if n else 0.0 for weight, n in terms))
        layout.planes[k] = PenaltyPlane(plane.data_ptr(), grad.data_ptr(), share, rows, cols)
    return layout
