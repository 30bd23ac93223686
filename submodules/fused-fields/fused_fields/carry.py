"""Rows of Gaussians carried along by one rigid motion, in one pass."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from . import _native, reference

SHAPES = {"means": (3,), "quats": (4,), "logits": (1,)}  # of a row


def carry(means: Tensor, quats: Tensor, logits: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
    """Places "N 3" and quaternions "N 4" that a rigid motion carries as far as weights say.

    motion "16": the matrix (R | t) by rows, then the quaternion q (w, x, y, z) of R, of either
    sign. A row of place p, quaternion r and weight w, the sigmoid of its logit "N 1", comes to
    p + w (R p + t - p) and r + w (q r - r), which is not normalised: linear blend skinning with two
    bones, of which one stands still. Gradients go to all four, the same bits for any number of
    threads; there are no second derivatives.

    Raises ValueError or TypeError naming the argument that does not fit.
    """
    inputs = {"means": means, "quats": quats, "logits": logits, "motion": motion}
    for name, tensor in inputs.items():
        expected = (len(means), *SHAPES[name]) if name in SHAPES else (16,)
        if tuple(tensor.shape) != expected:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; expected {expected}")
        if tensor.dtype != means.dtype or tensor.device != means.device:
            raise TypeError(
                f"{name} is {tensor.dtype} on {tensor.device} and means is {means.dtype} on "
                f"{means.device}; give all the same"
            )
    run = _carry if _native.runs_on(list(inputs.values())) else reference.carry
    return run(*(tensor.contiguous() for tensor in inputs.values()))


def _forward(means: Tensor, quats: Tensor, logits: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
    carried = _empty_carried(means, quats, logits, motion)
    table = _table([means, quats, logits, motion])
    _native.call("carry_forward", means.dtype, ctypes.addressof(table), *carried)
    return carried


def _empty_carried(
    means: Tensor, quats: Tensor, logits: Tensor, motion: Tensor
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(means), torch.empty_like(quats)


def _backward(grads: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
    found = _empty_grads(grads, inputs)
    table = _table(inputs)
    _native.call("carry_backward", inputs[0].dtype, ctypes.addressof(table), *grads, *found)
    return found


def _empty_grads(grads: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
    return [torch.empty_like(tensor) for tensor in inputs]


def _keep(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx, *grads: Tensor) -> tuple[Tensor, ...]:
    return tuple(_carry_backward([grad.contiguous() for grad in grads], list(ctx.saved_tensors)))


_carry = _native.OPERATORS.define(
    "carry(Tensor means, Tensor quats, Tensor logits, Tensor motion) -> (Tensor, Tensor)",
    cpu=_forward,
    cuda=_native.on_gpu("carry"),
    fake=_empty_carried,
    keep=_keep,
    differentiate=_differentiate,
)
_carry_backward = _native.OPERATORS.define(
    "carry_backward(Tensor[] grads, Tensor[] inputs) -> Tensor[]",
    cpu=_backward,
    cuda=_native.on_gpu("carry_backward"),
    fake=_empty_grads,
)


def _table(inputs: list[Tensor]) -> _native.CarriedRows:
    return _native.CarriedRows(*(tensor.data_ptr() for tensor in inputs), len(inputs[0]))
