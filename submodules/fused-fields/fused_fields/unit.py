"""Rows of length one, in one pass."""

from __future__ import annotations

import ctypes

from torch import Tensor

from . import _native, reference


def unit_rows(rows: Tensor, origin: Tensor | None = None) -> Tensor:
    """Rows "N k", 2 to 4 numbers each, less `origin` "k", divided by their lengths, or by 1e-12
    where they are shorter.

    Gradients go to the rows, not to the origin; there are no second derivatives. On a GPU this is
    the PyTorch twin. Raises ValueError or TypeError naming the argument that does not fit.
    """
    if rows.ndim != 2 or not 2 <= rows.shape[1] <= 4:
        raise ValueError(f"rows has shape {tuple(rows.shape)}; expected (N, 2), (N, 3) or (N, 4)")
    if origin is not None:
        if origin.shape != rows.shape[1:]:
            raise ValueError(
                f"origin has shape {tuple(origin.shape)}; expected {tuple(rows.shape[1:])}"
            )
        if origin.requires_grad:
            raise TypeError("origin requires a gradient, and has none; detach it")
        if origin.dtype != rows.dtype or origin.device != rows.device:
            raise TypeError(
                f"origin is {origin.dtype} on {origin.device} and rows is {rows.dtype} on "
                f"{rows.device}; give both the same"
            )
    if not _native.runs_on([rows], devices=("cpu",)):
        return reference.unit_rows(rows, origin)
    return _unit(rows.contiguous(), None if origin is None else origin.contiguous())


def _forward(rows: Tensor, origin: Tensor | None) -> Tensor:
    return _run(rows, origin, None)


def _backward(grad: Tensor, rows: Tensor, origin: Tensor | None) -> Tensor:
    return _run(rows, origin, grad)


def _run(rows: Tensor, origin: Tensor | None, grad: Tensor | None) -> Tensor:
    """The rows of length one, or where there is a gradient of these, that of `rows`."""
    found = rows.new_empty(rows.shape)
    start = None if origin is None else origin.data_ptr()
    table = _native.UnitTable(rows.data_ptr(), start, found.data_ptr(), *rows.shape)
    _native.call("unit_rows", rows.dtype, ctypes.addressof(table), grad)
    return found


def _keep(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx, grad: Tensor) -> tuple[Tensor, None]:
    return _unit_backward(grad.contiguous(), *ctx.saved_tensors), None


_unit = _native.OPERATORS.define(
    "unit_rows(Tensor rows, Tensor? origin) -> Tensor",
    cpu=_forward,
    fake=lambda rows, origin: rows.new_empty(rows.shape),
    keep=_keep,
    differentiate=_differentiate,
)
_unit_backward = _native.OPERATORS.define(
    "unit_rows_backward(Tensor grad, Tensor rows, Tensor? origin) -> Tensor",
    cpu=_backward,
    fake=lambda grad, rows, origin: rows.new_empty(rows.shape),
)
