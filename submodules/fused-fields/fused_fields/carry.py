"""Gaussians that follow a rigid motion, each as far as a weight of its own says, in one pass."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from . import _native, reference


def carry(
    means: Tensor, quats: Tensor, logits: Tensor, way: Tensor, turn: Tensor
) -> tuple[Tensor, Tensor]:
    """Means "N 3" and quaternions "N 4" (wxyz), each moved by the share that the sigmoid of its
    logit, "N 1", is of a motion: means by `way` "3 4" times (mean, 1), quaternions by the Hamilton
    product of `turn` "4" with them. Both are differences from standing still: a motion's matrix
    less the identity, its quaternion less (1, 0, 0, 0).

    Gradients go to all five, the same bits for any number of threads; there are no second
    derivatives. On a GPU this is the PyTorch twin. Raises ValueError or TypeError naming the
    argument that does not fit.
    """
    rows = len(means)
    wanted = {
        "means": (means, (rows, 3)), "quats": (quats, (rows, 4)), "logits": (logits, (rows, 1)),
        "way": (way, (3, 4)), "turn": (turn, (4,)),
    }  # fmt: skip
    for name, (tensor, shape) in wanted.items():
        if tensor.shape != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected {shape}")
        if (tensor.dtype, tensor.device) != (means.dtype, means.device):
            raise TypeError(
                f"{name} is {tensor.dtype} on {tensor.device} and means is {means.dtype} on "
                f"{means.device}; give both the same"
            )
    if not _native.runs_on([means, quats, logits, way, turn], devices=("cpu",)):
        return reference.carry(means, quats, logits, way, turn)
    motion = torch.cat([way.flatten(), turn])
    return _carry(means.contiguous(), quats.contiguous(), logits.contiguous(), motion)


def _forward(means: Tensor, quats: Tensor, logits: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
    found = _empty_carried(means, quats, logits, motion)
    _call("carry_forward", _table(means, quats, logits, motion), _table(*found), dtype=means.dtype)
    return found


def _empty_carried(means, quats, logits, motion) -> tuple[Tensor, Tensor]:
    return means.new_empty(means.shape), quats.new_empty(quats.shape)


def _backward(
    grad_means: Tensor, grad_quats: Tensor, means: Tensor, quats: Tensor, logits: Tensor,
    motion: Tensor,
) -> list[Tensor]:  # fmt: skip
    """Gradients of means, quats, logits and motion."""
    inputs = (means, quats, logits, motion)
    found = _empty_grads(grad_means, grad_quats, *inputs)
    tables = [_table(*inputs), _table(grad_means, grad_quats), _table(*found[:3])]
    _call("carry_backward", *tables, found[3], dtype=means.dtype)
    return found


def _empty_grads(grad_means, grad_quats, *inputs: Tensor) -> list[Tensor]:
    return [tensor.new_empty(tensor.shape) for tensor in inputs]


def _keep(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx, grad_means: Tensor, grad_quats: Tensor) -> tuple[Tensor, ...]:
    grads = grad_means.contiguous(), grad_quats.contiguous()
    return tuple(_carry_backward(*grads, *ctx.saved_tensors))


_carry = _native.OPERATORS.define(
    "carry(Tensor means, Tensor quats, Tensor logits, Tensor motion) -> (Tensor, Tensor)",
    cpu=_forward,
    fake=_empty_carried,
    keep=_keep,
    differentiate=_differentiate,
)
_carry_backward = _native.OPERATORS.define(
    "carry_backward(Tensor grad_means, Tensor grad_quats, Tensor means, Tensor quats, "
    "Tensor logits, Tensor motion) -> Tensor[]",
    cpu=_backward,
    fake=_empty_grads,
)


def _table(*tensors: Tensor) -> _native.CarriedTable:
    return _native.CarriedTable(len(tensors[0]), *(tensor.data_ptr() for tensor in tensors))


def _call(name: str, *arguments: Tensor | _native.CarriedTable, dtype: torch.dtype) -> None:
    plain = (x if isinstance(x, Tensor) else ctypes.addressof(x) for x in arguments)
    _native.call(name, dtype, *plain)
