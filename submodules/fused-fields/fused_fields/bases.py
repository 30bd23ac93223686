"""Linear bases: what moves a Gaussian is a sum of its own bases with weights that all share."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

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


def add_bases(
    columns: Sequence[Tensor],
    bases: Tensor,
    weights: Tensor,
    others: Tensor | None = None,
    share: Tensor | None = None,
) -> list[Tensor]:
    """The columns, "N ..." each, with the sums of `mix_bases` added: their numbers side by side are
    the C numbers of a base.

    Given `others` "K C" and `share` "N", the weights of a row are 1 - share of `weights` and share
    of `others`. In one pass on the CPU. Gradients go to all but the share, as those of `mix_bases`
    do.

    Raises ValueError or TypeError naming what does not fit.
    """
    _check(bases, weights)
    _check_columns(columns, bases, weights)
    if (others is None) != (share is None):
        raise ValueError("others and share belong together: give both or neither")
    if share is not None:
        _check_share(bases, weights, others, share)
    half = bases.dtype == torch.float16
    if not _native.runs_on([weights] if half else [bases, weights], devices=("cpu",)):
        return reference.add_bases(columns, bases, weights, others, share, mix=mix_bases)
    columns, bases = [c.contiguous() for c in columns], bases.contiguous()
    if share is None:
        return _add(columns, bases, weights.contiguous(), None)
    return _add(columns, bases, torch.stack([weights, others]), share.detach().contiguous())


def _check_share(bases: Tensor, weights: Tensor, others: Tensor, share: Tensor) -> None:
    if others.shape != weights.shape or share.shape != bases.shape[:1]:
        raise ValueError(
            f"others has shape {tuple(others.shape)} and share {tuple(share.shape)}; expected "
            f"{tuple(weights.shape)} as weights, and ({len(bases)},)"
        )
    for name, tensor in (("others", others), ("share", share)):
        if tensor.dtype != weights.dtype or tensor.device != weights.device:
            raise TypeError(
                f"{name} is {tensor.dtype} on {tensor.device} and weights is {weights.dtype} on "
                f"{weights.device}; give all the same"
            )


def _check_columns(columns: Sequence[Tensor], bases: Tensor, weights: Tensor) -> None:
    shapes = [tuple(column.shape) for column in columns]
    width = sum(column.shape[1:].numel() for column in columns)
    if width != bases.shape[2] or any(shape[:1] != bases.shape[:1] for shape in shapes):
        raise ValueError(
            f"columns have shapes {shapes} and bases {tuple(bases.shape)}; expected N rows that "
            "together have C numbers"
        )
    for column in columns:
        if column.dtype != weights.dtype or column.device != weights.device:
            raise TypeError(
                f"a column is {column.dtype} on {column.device} and weights is {weights.dtype} on "
                f"{weights.device}; give all the same"
            )


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


def _forward(bases: Tensor, weights: Tensor) -> Tensor:
    sums = _empty_sums(bases, weights)
    table = _table(bases, None)
    _native.call("mix_forward", weights.dtype, ctypes.addressof(table), weights, sums)
    return sums


def _empty_sums(bases: Tensor, weights: Tensor) -> Tensor:
    return weights.new_empty(len(bases), bases.shape[2])


def _added(
    columns: list[Tensor], bases: Tensor, weights: Tensor, share: Tensor | None
) -> list[Tensor]:
    found = _empty_columns(columns, bases, weights, share)
    count, table = len(columns), _table(bases, None, share)
    pointers = ctypes.c_void_p * count
    plan = _native.AddedColumns(
        pointers(*(column.data_ptr() for column in columns)),
        pointers(*(column.data_ptr() for column in found)),
        (ctypes.c_int32 * count)(*(column.shape[1:].numel() for column in columns)),
        count,
    )
    addresses = ctypes.addressof(table), weights, ctypes.addressof(plan)
    _native.call("mix_onto", weights.dtype, *addresses)
    return found


def _empty_columns(
    columns: list[Tensor], bases: Tensor, weights: Tensor, share: Tensor | None
) -> list[Tensor]:
    return [torch.empty_like(column) for column in columns]


def _keep_added(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs[1:])


def _differentiate_added(
    ctx, grads: list[Tensor]
) -> tuple[list[Tensor], Tensor | None, Tensor, None]:
    sums = torch.cat([grad.flatten(1) for grad in grads], dim=1)
    bases, weights, share = ctx.saved_tensors
    wants_bases = ctx.needs_input_grad[1]
    found, of_weights = _add_backward(sums, bases, weights, wants_bases, share)
    return grads, found if wants_bases else None, of_weights, None


def _backward(
    grad: Tensor,
    bases: Tensor,
    weights: Tensor,
    wants_bases: bool,
    share: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Gradients of bases, empty where they are not wanted, and of weights."""
    found = _empty_grads(grad, bases, weights, wants_bases)
    table = _table(bases, found[0] if wants_bases else None, share)
    _native.call("mix_backward", weights.dtype, ctypes.addressof(table), weights, grad, found[1])
    return found


def _empty_grads(
    grad: Tensor,
    bases: Tensor,
    weights: Tensor,
    wants_bases: bool,
    share: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    shape = bases.shape if wants_bases else (0,)
    return weights.new_empty(shape), torch.empty_like(weights)


def _keep(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor]:
    wants_bases = ctx.needs_input_grad[0]
    bases, weights = _mix_backward(grad.contiguous(), *ctx.saved_tensors, wants_bases)
    return bases if wants_bases else None, weights


_mix = _native.OPERATORS.define(
    "mix_bases(Tensor bases, Tensor weights) -> Tensor",
    cpu=_forward,
    cuda=_native.on_gpu("mix_bases"),
    fake=_empty_sums,
    keep=_keep,
    differentiate=_differentiate,
)
_add = _native.OPERATORS.define(
    "add_bases(Tensor[] columns, Tensor bases, Tensor weights, Tensor? share) -> Tensor[]",
    cpu=_added,
    fake=_empty_columns,
    keep=_keep_added,
    differentiate=_differentiate_added,
)
_mix_backward = _native.OPERATORS.define(
    "mix_bases_backward(Tensor grad, Tensor bases, Tensor weights, bool wants_bases) "
    "-> (Tensor, Tensor)",
    cpu=_backward,
    cuda=_native.on_gpu("mix_bases_backward"),
    fake=_empty_grads,
)
_add_backward = _native.OPERATORS.define(
    "add_bases_backward(Tensor grad, Tensor bases, Tensor weights, bool wants_bases, "
    "Tensor? share) -> (Tensor, Tensor)",
    cpu=_backward,
    fake=_empty_grads,
)


def _table(bases: Tensor, grad: Tensor | None, share: Tensor | None = None) -> _native.BasisTable:
    addresses = [None if tensor is None else tensor.data_ptr() for tensor in (grad, share)]
    half = bases.dtype == torch.float16
    return _native.BasisTable(bases.data_ptr(), addresses[0], *bases.shape, half, addresses[1])
