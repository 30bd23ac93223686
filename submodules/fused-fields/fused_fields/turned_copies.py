"""Points turned by quaternions, several copies of each, in one pass."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from . import _native, reference


def turn_copies(points: Tensor, quats: Tensor) -> Tensor:
    """Places "T N 3" of the copies of `points` "N 3", each turned by its own of `quats` "N T 4".

    Quaternions (w, x, y, z) are divided by their lengths, or by 1e-12 where they are shorter.
    Gradients go to both, the same bits for any number of threads; there are no second derivatives.

    Raises ValueError or TypeError naming the argument that does not fit.
    """
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points has shape {tuple(points.shape)}; expected (N, 3)")
    if quats.ndim != 3 or quats.shape[::2] != (len(points), 4):
        raise ValueError(
            f"quats has shape {tuple(quats.shape)}; expected ({len(points)}, copies, 4)"
        )
    if quats.dtype != points.dtype or quats.device != points.device:
        raise TypeError(
            f"quats is {quats.dtype} on {quats.device} and points is {points.dtype} on "
            f"{points.device}; give both the same"
        )
    if not _native.runs_on([points, quats]):
        return reference.turn_copies(points, quats)
    return _turn(points.contiguous(), quats.contiguous())


def _forward(points: Tensor, quats: Tensor) -> Tensor:
    turned = _empty_turned(points, quats)
    table = _table(points, quats)
    _native.call("turn_forward", points.dtype, ctypes.addressof(table), turned)
    return turned


def _empty_turned(points: Tensor, quats: Tensor) -> Tensor:
    return points.new_empty(quats.shape[1], len(points), 3)


def _backward(grad: Tensor, points: Tensor, quats: Tensor, wants: list[bool]) -> list[Tensor]:
    """Gradients of points and of quats; empty tensors of those that are not wanted."""
    found = _empty_grads(grad, points, quats, wants)
    grads = [g if want else None for g, want in zip(found, wants, strict=True)]
    table = _table(points, quats, grads)
    _native.call("turn_backward", points.dtype, ctypes.addressof(table), grad)
    return found


def _empty_grads(grad: Tensor, points: Tensor, quats: Tensor, wants: list[bool]) -> list[Tensor]:
    pairs = zip((points, quats), wants, strict=True)
    return [torch.empty_like(x) if want else x.new_empty(0) for x, want in pairs]


def _keep(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
    wants = list(ctx.needs_input_grad)
    found = _turn_backward(grad.contiguous(), *ctx.saved_tensors, wants)
    return tuple(g if want else None for g, want in zip(found, wants, strict=True))


_turn = _native.OPERATORS.define(
    "turn_copies(Tensor points, Tensor quats) -> Tensor",
    cpu=_forward,
    cuda=_native.on_gpu("turn_copies"),
    fake=_empty_turned,
    keep=_keep,
    differentiate=_differentiate,
)
_turn_backward = _native.OPERATORS.define(
    "turn_copies_backward(Tensor grad, Tensor points, Tensor quats, bool[] wants) -> Tensor[]",
    cpu=_backward,
    cuda=_native.on_gpu("turn_copies_backward"),
    fake=_empty_grads,
)


def _table(
    points: Tensor, quats: Tensor, grads: list[Tensor | None] | None = None
) -> _native.TurnedTable:
    of_points, of_quats = (None if g is None else g.data_ptr() for g in grads or (None, None))
    return _native.TurnedTable(
        points.data_ptr(), quats.data_ptr(), of_points, of_quats, len(points), quats.shape[1]
    )
