"""Raw columns of a table of Gaussians to what is drawn of it, in one pass."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from . import _native, reference

WIDTHS = {"quats": (4,), "log_scales": (3,), "opacity_logits": (1,), "sh_dc": (1, 3)}  # of a row


def activate(
    quats: Tensor,
    log_scales: Tensor,
    opacity_logits: Tensor,
    sh_dc: Tensor,
    sh_rest: Tensor,
    bands: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Unit quats "N 4", scales "N 3", opacities "N 1" and SH "N bands 3" (Kerbl et al. 2023).

    quats "N 4" are divided by their lengths, or by 1e-12 where they are shorter; log_scales "N 3"
    go through exp and opacity_logits "N 1" through the sigmoid; of sh_dc "N 1 3" and sh_rest
    "N B 3" the first `bands` bands are laid side by side. Gradients go to all five; bands that are
    not drawn get zeros.

    Raises ValueError or TypeError naming the column that does not fit.
    """
    columns = {
        "quats": quats, "log_scales": log_scales, "opacity_logits": opacity_logits,
        "sh_dc": sh_dc, "sh_rest": sh_rest,
    }  # fmt: skip
    _check(columns, bands)
    tensors = list(columns.values())
    if not _native.runs_on(tensors):
        return reference.activate(*tensors, bands)
    return _activate(*(tensor.contiguous() for tensor in tensors), bands)


def _check(columns: dict[str, Tensor], bands: int) -> None:
    quats, rest = columns["quats"], columns["sh_rest"]
    for name, column in columns.items():
        width = WIDTHS.get(name, (*rest.shape[1:2], 3))
        if tuple(column.shape) != (len(quats), *width):
            raise ValueError(
                f"{name} has shape {tuple(column.shape)}; expected {(len(quats), *width)}"
            )
        if column.dtype != quats.dtype or column.device != quats.device:
            raise TypeError(
                f"{name} is {column.dtype} on {column.device} and quats is {quats.dtype} on "
                f"{quats.device}; give all the same"
            )
    if not 1 <= bands <= 1 + rest.shape[1]:
        raise ValueError(f"bands is {bands}; expected 1 to {1 + rest.shape[1]}, as many as stored")


def _forward(
    quats: Tensor,
    log_scales: Tensor,
    opacity_logits: Tensor,
    sh_dc: Tensor,
    sh_rest: Tensor,
    bands: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    raw = [quats, log_scales, opacity_logits, sh_dc, sh_rest]
    drawn = _empty_drawn(*raw, bands)
    shape, columns, made = _structs(raw, drawn)
    _native.call("activate_forward", quats.dtype, *map(ctypes.addressof, (shape, columns, made)))
    return drawn


def _empty_drawn(
    quats: Tensor,
    log_scales: Tensor,
    opacity_logits: Tensor,
    sh_dc: Tensor,
    sh_rest: Tensor,
    bands: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    sh = sh_dc.new_empty(len(sh_dc), bands, 3)
    return (*map(torch.empty_like, (quats, log_scales, opacity_logits)), sh)


def _backward(grads: list[Tensor], raw: list[Tensor], drawn: list[Tensor]) -> list[Tensor]:
    found = _empty_grads(grads, raw, drawn)
    shape, columns, made = _structs(raw, drawn)
    _, to, upstream = _structs(found, grads)
    _native.call("activate_backward", raw[0].dtype,
                 *map(ctypes.addressof, (shape, columns, made, upstream, to)))  # fmt: skip
    return found


def _empty_grads(grads: list[Tensor], raw: list[Tensor], drawn: list[Tensor]) -> list[Tensor]:
    return [torch.empty_like(tensor) for tensor in raw]


def _keep(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs[:5], *output)


def _differentiate(ctx, *grads: Tensor) -> tuple[Tensor | None, ...]:
    raw, drawn = list(ctx.saved_tensors[:5]), list(ctx.saved_tensors[5:])
    return (*_activate_backward([grad.contiguous() for grad in grads], raw, drawn), None)


_activate = _native.OPERATORS.define(
    "activate(Tensor quats, Tensor log_scales, Tensor opacity_logits, Tensor sh_dc, "
    "Tensor sh_rest, SymInt bands) -> (Tensor, Tensor, Tensor, Tensor)",
    cpu=_forward,
    cuda=_native.on_gpu("activate"),
    fake=_empty_drawn,
    keep=_keep,
    differentiate=_differentiate,
)
_activate_backward = _native.OPERATORS.define(
    "activate_backward(Tensor[] grads, Tensor[] raw, Tensor[] drawn) -> Tensor[]",
    cpu=_backward,
    cuda=_native.on_gpu("activate_backward"),
    fake=_empty_grads,
)


def _structs(
    raw: list[Tensor], drawn: list[Tensor]
) -> tuple[_native.TableShape, _native.RawColumns, _native.DrawnColumns]:
    shape = _native.TableShape(len(raw[0]), drawn[3].shape[1], raw[4].shape[1])
    columns = _native.RawColumns(*(tensor.data_ptr() for tensor in raw))
    return shape, columns, _native.DrawnColumns(*(tensor.data_ptr() for tensor in drawn))
