"""Structural similarity and its gradient: kernels of csrc/cuda/ssim.cuh."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import c_double, c_int32

import torch
from native_kernels import members
from nvrtc_launch import Kernels
from torch import Tensor

from .program import THREADS, blocks_for, numbers

TILE = (32, 16)  # columns and rows of a block; kTileX and kTileY in csrc/cuda/ssim.cuh


class SsimShape(ctypes.Structure):
    """Mirrors `SsimShape` in csrc/cuda/ssim.cuh."""

    _fields_ = members(height=c_int32, width=c_int32, margin=c_int32)


def ssim(
    a: Tensor, b: Tensor, margin: int, keep: bool, kernels: Callable[..., Kernels]
) -> tuple[Tensor, Tensor]:
    """Mean SSIM, and "4 ... H' W'" of its partial derivatives when `keep` (otherwise empty)."""
    *lead, height, width = a.shape
    rows, cols = height - 2 * margin, width - 2 * margin
    grid = _grid(a, rows, cols)
    sums = a.new_empty(grid, dtype=torch.float64)
    partials = a.new_empty(4 if keep else 0, *lead, rows, cols)
    kernels(**numbers(a.dtype)).launch(
        "ssim_forward", grid, THREADS, SsimShape(height, width, margin), a, b, sums,
        partials if keep else None,
    )  # fmt: skip
    return (sums.sum() / (grid[2] * rows * cols)).to(a.dtype), partials


def ssim_backward(
    a: Tensor,
    b: Tensor,
    partials: Tensor,
    scale: Tensor,
    margin: int,
    wants: list[bool],
    kernels: Callable[..., Kernels],
) -> list[Tensor]:
    """Gradients of a and b from `scale`, that of the mean; empty where not wanted."""
    *_, height, width = a.shape
    grads = [a.new_empty(a.shape if want else (0,)) for want in wants]
    kernels(**numbers(a.dtype)).launch(
        "ssim_backward", _grid(a, height, width), THREADS, SsimShape(height, width, margin), a, b,
        partials, scale.contiguous(), c_double(1 / partials[0].numel()),
        *(grad if want else None for grad, want in zip(grads, wants, strict=True)),
    )  # fmt: skip
    return grads


def _grid(images: Tensor, rows: int, cols: int) -> tuple[int, int, int]:
    """Tiles along columns and rows, and images, of maps of that size."""
    return blocks_for(cols, TILE[0]), blocks_for(rows, TILE[1]), images[..., 0, 0].numel()
