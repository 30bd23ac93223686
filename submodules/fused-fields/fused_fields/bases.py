"""Linear bases: what moves a Gaussian is a sum of its own bases with weights that all share."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from . import _native, reference


def mix_bases(bases: Tensor, weights: Tensor) -> Tensor:
    """Sums "N C" over the K bases "N K C" of every row, number by number times `weights` "K C".

    Gradients go to bases and weights, the same bits for any number of threads; there are no second
    derivatives. Bases may be float16 beside float32 weights: half the memory to read where nothing
    but weights is learned; such bases have no gradient.

    Raises ValueError or TypeError naming what does not fit.
    """
    _check(bases, weights)
    half = bases.dtype == torch.float16
    if not _native.runs_on([weights] if half else [bases, weights]):
        return reference.mix_bases(bases, weights)
    return _mix(bases.contiguous(), weights.contiguous())


def _check(bases: Tensor, weights: Tensor) -> None:
    if bases.ndim != 3 or weights.shape != bases.shape[1:]:
        raise ValueError(
            f"bases has shape {tuple(bases.shape)} and weights {tuple(weights.shape)}; expected "
            "(N, K, C) and (K, C)"
        )
    half = (bases.dtype, weights.dtype) == (torch.float16, torch.float32)
    if bases.device != weights.device or not (bases.dtype == weights.dtype or half):
        raise TypeError(
            f"bases is {bases.dtype} on {bases.device} and weights is {weights.dtype} on "
            f"{weights.device}; give both the same, or float16 bases beside float32 weights"
        )
    if half and bases.requires_grad:
        raise TypeError("bases is float16 and requires a gradient, which float32 bases alone have")


@torch.library.custom_op(
    "fused_fields::mix_bases",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor bases, Tensor weights) -> Tensor",
)
def _mix(bases: Tensor, weights: Tensor) -> Tensor:
    sums = weights.new_empty(len(bases), bases.shape[2])
    table = _table(bases, None)
    _native.call("mix_forward", weights.dtype, ctypes.addressof(table), weights, sums)
    return sums


_native.on_gpu(_mix, "mix_bases")


@_mix.register_fake
def _(bases: Tensor, weights: Tensor) -> Tensor:
    return weights.new_empty(len(bases), bases.shape[2])


@torch.library.custom_op(
    "fused_fields::mix_bases_backward",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor grad, Tensor bases, Tensor weights, bool wants_bases) -> (Tensor, Tensor)",
)
def _mix_backward(
    grad: Tensor, bases: Tensor, weights: Tensor, wants_bases: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of bases, empty where they are not wanted, and of weights."""
    found = _empty_grads(bases, weights, wants_bases)
    table = _table(bases, found[0] if wants_bases else None)
    _native.call("mix_backward", weights.dtype, ctypes.addressof(table), weights, grad, found[1])
    return found


_native.on_gpu(_mix_backward, "mix_bases_backward")


@_mix_backward.register_fake
def _(grad: Tensor, bases: Tensor, weights: Tensor, wants_bases: bool) -> tuple[Tensor, Tensor]:
    return _empty_grads(bases, weights, wants_bases)


def _empty_grads(bases: Tensor, weights: Tensor, wants_bases: bool) -> tuple[Tensor, Tensor]:
    shape = bases.shape if wants_bases else (0,)
    return weights.new_empty(shape), torch.empty_like(weights)


def _keep(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor]:
    wants_bases = ctx.needs_input_grad[0]
    bases, weights = _mix_backward(grad.contiguous(), *ctx.saved_tensors, wants_bases)
    return bases if wants_bases else None, weights


_mix.register_autograd(_differentiate, setup_context=_keep)


def _table(bases: Tensor, grad: Tensor | None) -> _native.BasisTable:
    address = None if grad is None else grad.data_ptr()
    half = bases.dtype == torch.float16
    return _native.BasisTable(bases.data_ptr(), address, *bases.shape, half)
