"""Linear blend skinning and its gradients: the kernels of csrc/cuda/skinning.cuh."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import c_int32, c_int64, c_void_p

import torch
from native_kernels import members
from nvrtc_launch import Kernels
from torch import Tensor

from .program import THREADS, blocks_for, numbers


class SkinTable(ctypes.Structure):
    """Mirrors `SkinTable` in csrc/cuda/skinning.cuh."""

    _fields_ = members(
        points=c_void_p, shifts=c_void_p, weights=c_void_p, quats=c_void_p, rows=c_int64,
        bones=c_int32,
    )  # fmt: skip


class SkinGrads(ctypes.Structure):
    """Mirrors `SkinGrads` in csrc/cuda/skinning.cuh."""

    _fields_ = members(
        points=c_void_p, shifts=c_void_p, weights=c_void_p, quats=c_void_p, motions=c_void_p
    )


def skin(
    points: Tensor,
    shifts: Tensor,
    weights: Tensor,
    quats: Tensor,
    motions: Tensor,
    canonical: Tensor | None,
    kernels: Callable[..., Kernels],
) -> tuple[Tensor, Tensor]:
    """Posed places "N 3" and quaternions "N 4"; motions "J 16" hold a bone, then its turn."""
    found = torch.empty_like(points), torch.empty_like(quats)
    run = kernels(**numbers(points.dtype))
    if len(points):
        table = _table(points, shifts, weights, quats)
        run.launch(
            "skin_forward", blocks_for(len(points)), THREADS, table, motions, canonical, *found
        )
    return found


def skin_backward(
    grad_means: Tensor,
    grad_quats: Tensor,
    points: Tensor,
    shifts: Tensor,
    weights: Tensor,
    quats: Tensor,
    motions: Tensor,
    canonical: Tensor | None,
    wants_motions: bool,
    kernels: Callable[..., Kernels],
) -> list[Tensor]:
    """Gradients of points, shifts, weights, quats and motions; the last empty if not wanted."""
    found = [torch.empty_like(tensor) for tensor in (points, shifts, weights, quats)]
    pulls = points.new_empty(len(points) if wants_motions else 0, motions.shape[1])
    run = kernels(**numbers(points.dtype))
    if len(points):
        addresses = [tensor.data_ptr() for tensor in found]
        grads = SkinGrads(*addresses, pulls.data_ptr() if wants_motions else None)
        table = _table(points, shifts, weights, quats)
        run.launch(
            "skin_backward", blocks_for(len(points)), THREADS, table, motions, canonical,
            grad_means, grad_quats, grads,
        )  # fmt: skip
    return [*found, weights.T @ pulls if wants_motions else motions.new_empty(0)]


def _table(points: Tensor, shifts: Tensor, weights: Tensor, quats: Tensor) -> SkinTable:
    addresses = (tensor.data_ptr() for tensor in (points, shifts, weights, quats))
    return SkinTable(*addresses, *weights.shape)
