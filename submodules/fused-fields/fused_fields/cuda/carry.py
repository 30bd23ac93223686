"""Rows carried along by a rigid motion: the kernels of csrc/cuda/carry.cuh."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import c_int64, c_void_p

import torch
from native_kernels import members
from nvrtc_launch import Kernels
from torch import Tensor

from .program import THREADS, blocks_for, numbers

MOTION = 16  # kMotionSize in csrc/cuda/carry.cuh


class CarriedRows(ctypes.Structure):
    """Mirrors `CarriedRows` in csrc/cuda/carry.cuh."""

    _fields_ = members(
        means=c_void_p, quats=c_void_p, logits=c_void_p, motion=c_void_p, rows=c_int64
    )


def carry(
    means: Tensor, quats: Tensor, logits: Tensor, motion: Tensor, kernels: Callable[..., Kernels]
) -> tuple[Tensor, Tensor]:
    """Places "N 3" and quaternions "N 4" after the motion."""
    carried = torch.empty_like(means), torch.empty_like(quats)
    if len(means):
        kernels(**numbers(means.dtype)).launch(
            "carry_forward", blocks_for(len(means)), THREADS,
            _table(means, quats, logits, motion), *carried,
        )  # fmt: skip
    return carried


def carry_backward(
    grads: list[Tensor], inputs: list[Tensor], kernels: Callable[..., Kernels]
) -> list[Tensor]:
    """Gradients of means, quats, logits and motion from those of what `carry` returns."""
    *rows, motion = inputs
    found = [torch.empty_like(tensor) for tensor in rows]
    motions = motion.new_empty(len(rows[0]), MOTION)
    if len(motions):
        kernels(**numbers(motion.dtype)).launch(
            "carry_backward", blocks_for(len(motions)), THREADS, _table(*inputs), *grads, *found,
            motions,
        )  # fmt: skip
    return [*found, motions.sum(0, dtype=torch.float64).to(motion.dtype)]


def _table(means: Tensor, quats: Tensor, logits: Tensor, motion: Tensor) -> CarriedRows:
    addresses = (tensor.data_ptr() for tensor in (means, quats, logits, motion))
    return CarriedRows(*addresses, len(means))
