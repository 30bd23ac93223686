"""Regularisers of plane fields: second differences along rows and columns, and |1 - P|."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from . import _native, reference


class PlanePenalties(NamedTuple):
    """One value per plane in each field, "P"; weigh and sum them as the method asks."""

    rows: Tensor  # mean of (P[i+2] - 2 P[i+1] + P[i])^2, i over rows (in a time plane: time)
    cols: Tensor  # the same along columns
    ones: Tensor  # mean of |1 - P|


def plane_penalties(planes: Sequence[Tensor]) -> PlanePenalties:
    """All penalties of `planes`, each "rows cols C" (4D Gaussian Splatting, Wu et al. 2024).

    A term of a plane with fewer than three rows (or columns) is 0. One pass over the planes
    gives all three, and another pass the gradient of whichever of them are used.
    """
    for k, plane in enumerate(planes):
        if plane.ndim != 3 or 0 in plane.shape or plane.shape[2] != planes[0].shape[2]:
            raise ValueError(
                f"planes[{k}] has shape {tuple(plane.shape)}; expected (rows, cols, channels), "
                "nothing empty and the same channels in each"
            )
        if plane.dtype != planes[0].dtype or plane.device != planes[0].device:
            raise TypeError(
                f"planes[{k}] is {plane.dtype} on {plane.device}, but planes[0] is "
                f"{planes[0].dtype} on {planes[0].device}; give all the same"
            )
    if not planes:
        raise ValueError("planes is empty; expected at least one plane (rows, cols, channels)")
    if not _native.runs_on(planes):
        return PlanePenalties(*reference.plane_penalties(planes))
    return PlanePenalties(*_penalties([plane.contiguous() for plane in planes]).unbind(1))


def _forward(planes: list[Tensor]) -> Tensor:
    """Terms "P 3": rows, cols, ones."""
    terms = _empty_terms(planes)
    array = _array(planes, [None] * len(planes))
    _native.call("penalties_forward", terms.dtype, ctypes.addressof(array), len(planes),
                 planes[0].shape[2], terms)  # fmt: skip
    return terms


def _empty_terms(planes: list[Tensor]) -> Tensor:
    return planes[0].new_empty(len(planes), 3)


def _backward(grad: Tensor, planes: list[Tensor]) -> list[Tensor]:
    grads = _empty_grads(grad, planes)
    array = _array(planes, grads)
    _native.call("penalties_backward", grad.dtype, ctypes.addressof(array), len(planes),
                 planes[0].shape[2], grad)  # fmt: skip
    return grads


def _empty_grads(grad: Tensor, planes: list[Tensor]) -> list[Tensor]:
    return [torch.empty_like(plane) for plane in planes]


def _keep(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs[0])


def _differentiate(ctx, grad: Tensor) -> tuple[list[Tensor]]:
    return (_penalties_backward(grad.contiguous(), list(ctx.saved_tensors)),)


_penalties = _native.OPERATORS.define(
    "penalties(Tensor[] planes) -> Tensor",
    cpu=_forward,
    cuda=_native.on_gpu("penalties"),
    fake=_empty_terms,
    keep=_keep,
    differentiate=_differentiate,
)
_penalties_backward = _native.OPERATORS.define(
    "penalties_backward(Tensor grad, Tensor[] planes) -> Tensor[]",
    cpu=_backward,
    cuda=_native.on_gpu("penalties_backward"),
    fake=_empty_grads,
)


def _array(planes: list[Tensor], grads: Sequence[Tensor | None]) -> ctypes.Array:
    array = (_native.PenaltyPlane * len(planes))()
    for k, (plane, grad) in enumerate(zip(planes, grads, strict=True)):
        address = None if grad is None else grad.data_ptr()
        array[k] = _native.PenaltyPlane(plane.data_ptr(), address, *plane.shape[:2])
    return array
