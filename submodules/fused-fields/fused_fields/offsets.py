"""Columns of a table of Gaussians moved by offsets, in one pass."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from . import _native, reference


def add_offsets(
    columns: Sequence[Tensor], offsets: Sequence[Tensor], limits: Sequence[float]
) -> list[Tensor]:
    """Each column plus its offset, which is smoothly held within +- its limit (0: none) and is
    itself where it is small: column + limit * tanh(offset / limit).

    Columns may have any shapes, and offsets those of theirs. Gradients go to both; there are no
    second derivatives. On a GPU this is the PyTorch twin.

    Raises ValueError or TypeError naming the argument that does not fit.
    """
    _check(columns, offsets, limits)
    if not columns:
        return []
    if not _native.runs_on([*columns, *offsets], devices=("cpu",)):
        return reference.add_offsets(columns, offsets, limits)
    return _add_offsets(
        [column.contiguous() for column in columns],
        [offset.contiguous() for offset in offsets],
        list(limits),
    )


def _check(columns: Sequence[Tensor], offsets: Sequence[Tensor], limits: Sequence[float]) -> None:
    if not len(columns) == len(offsets) == len(limits):
        raise ValueError(
            f"there are {len(columns)} columns, {len(offsets)} offsets and {len(limits)} limits; "
            "expected as many of each"
        )
    for k, (column, offset, limit) in enumerate(zip(columns, offsets, limits, strict=True)):
        if offset.shape != column.shape:
            raise ValueError(
                f"offsets[{k}] has shape {tuple(offset.shape)}; expected {tuple(column.shape)}"
            )
        if limit < 0:
            raise ValueError(f"limits[{k}] is {limit}; expected a positive number, or 0 for none")
        for name, tensor in (("columns", column), ("offsets", offset)):
            if tensor.dtype != columns[0].dtype or tensor.device != columns[0].device:
                raise TypeError(
                    f"{name}[{k}] is {tensor.dtype} on {tensor.device} and columns[0] is "
                    f"{columns[0].dtype} on {columns[0].device}; give all the same"
                )


def _forward(columns: list[Tensor], offsets: list[Tensor], limits: list[float]) -> list[Tensor]:
    return _run("add_offsets_forward", columns, offsets, limits)


def _backward(grads: list[Tensor], offsets: list[Tensor], limits: list[float]) -> list[Tensor]:
    """Gradients of offsets that have a limit."""
    return _run("add_offsets_backward", grads, offsets, limits)


def _run(
    name: str, columns: list[Tensor], offsets: list[Tensor], limits: list[float]
) -> list[Tensor]:
    found = _empty(columns, offsets, limits)
    table = [
        (column.data_ptr(), offset.data_ptr(), to.data_ptr(), column.numel(), limit)
        for column, offset, to, limit in zip(columns, offsets, found, limits, strict=True)
    ]
    array = (_native.MovedColumn * len(columns))(*table)
    _native.call(name, columns[0].dtype, ctypes.addressof(array), len(columns))
    return found


def _empty(columns: list[Tensor], offsets: list[Tensor], limits: list[float]) -> list[Tensor]:
    return [torch.empty_like(column) for column in columns]


def _keep(ctx, inputs, output) -> None:
    _, offsets, ctx.limits = inputs
    ctx.save_for_backward(*offsets)


def _differentiate(ctx, grads: list[Tensor]) -> tuple[list[Tensor], list[Tensor], None]:
    to_offsets = list(grads)  # of those without a limit
    held = [k for k, limit in enumerate(ctx.limits) if limit]
    if held:
        found = _add_offsets_backward(
            [grads[k].contiguous() for k in held],
            [ctx.saved_tensors[k] for k in held],
            [ctx.limits[k] for k in held],
        )
        for k, grad in zip(held, found, strict=True):
            to_offsets[k] = grad
    return grads, to_offsets, None


_add_offsets = _native.OPERATORS.define(
    "add_offsets(Tensor[] columns, Tensor[] offsets, float[] limits) -> Tensor[]",
    cpu=_forward,
    fake=_empty,
    keep=_keep,
    differentiate=_differentiate,
)
_add_offsets_backward = _native.OPERATORS.define(
    "add_offsets_backward(Tensor[] grads, Tensor[] offsets, float[] limits) -> Tensor[]",
    cpu=_backward,
    fake=_empty,
)
