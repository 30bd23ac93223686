"""Points turned by quaternions: the kernels of csrc/cuda/turned_copies.cuh."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_int32, c_int64

import torch
from nvrtc_launch import Kernels
from torch import Tensor

from .program import THREADS, blocks_for, numbers


def turn_copies(points: Tensor, quats: Tensor, kernels: Callable[..., Kernels]) -> Tensor:
    """Places "T N 3" of the copies of points "N 3", turned by quats "N T 4"."""
    turned = points.new_empty(quats.shape[1], len(points), 3)
    if len(points):
        kernels(**numbers(points.dtype)).launch(
            "turn_forward", blocks_for(len(points)), THREADS, points, quats,
            c_int64(len(points)), c_int32(quats.shape[1]), turned,
        )  # fmt: skip
    return turned


def turn_copies_backward(
    grad: Tensor,
    points: Tensor,
    quats: Tensor,
    wants: list[bool],
    kernels: Callable[..., Kernels],
) -> list[Tensor]:
    """Gradients of points and of quats; empty tensors of those that are not wanted."""
    pairs = zip((points, quats), wants, strict=True)
    found = [torch.empty_like(x) if want else x.new_empty(0) for x, want in pairs]
    if len(points):
        kernels(**numbers(points.dtype)).launch(
            "turn_backward", blocks_for(len(points)), THREADS, points, quats,
            c_int64(len(points)), c_int32(quats.shape[1]), grad,
            *(g if want else None for g, want in zip(found, wants, strict=True)),
        )  # fmt: skip
    return found
