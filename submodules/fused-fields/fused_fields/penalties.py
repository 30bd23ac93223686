"""Regularisers of plane fields: second differences along rows and columns, and |1 - P|."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor

from . import _native, reference


@torch.no_grad()
def add_plane_penalties(
    planes: Sequence[Tensor], grads: Sequence[Tensor], weights: Sequence[Sequence[float]]
) -> Tensor:
    """The weighted sum of the planes' penalties, a scalar; its gradient is added to `grads`.

    planes: each "rows cols C" (4D Gaussian Splatting, Wu et al. 2024); grads: of their shapes,
    contiguous, changed in place. weights: three for each plane: of its mean squared second
    difference along rows (in a time plane: time), of that along columns, and of the mean of
    abs(1 - P). A term of a plane with fewer than three rows (or columns) is 0.

    No graph is built: the gradient of such a sum is known while it is summed, and one pass over
    planes and gradients does both. Call it after the backward pass of all else.

    Raises ValueError or TypeError naming the argument that does not fit.
    """
    _check(planes, grads, weights)
    run = _penalties if _native.runs_on(planes) else reference.add_plane_penalties
    found = run([plane.contiguous() for plane in planes], list(grads), [*chain(*weights)])
    for grad in grads:
        torch.autograd.graph.increment_version(grad)
    return found


def _check(
    planes: Sequence[Tensor], grads: Sequence[Tensor], weights: Sequence[Sequence[float]]
) -> None:
    if not planes:
        raise ValueError("planes is empty; expected at least one plane (rows, cols, channels)")
    if not len(planes) == len(grads) == len(weights) or any(len(row) != 3 for row in weights):
        raise ValueError(
            f"there are {len(planes)} planes, {len(grads)} grads and {len(weights)} weights; "
            "expected as many of each, and three numbers in each of weights"
        )
    for k, (plane, grad) in enumerate(zip(planes, grads, strict=True)):
        if plane.ndim != 3 or 0 in plane.shape or plane.shape[2] != planes[0].shape[2]:
            raise ValueError(
                f"planes[{k}] has shape {tuple(plane.shape)}; expected (rows, cols, channels), "
                "nothing empty and the same channels in each"
            )
        if grad.shape != plane.shape or not grad.is_contiguous():
            raise ValueError(
                f"grads[{k}] has shape {tuple(grad.shape)} and strides {grad.stride()}; expected "
                f"{tuple(plane.shape)}, contiguous"
            )
        for name, tensor in (("planes", plane), ("grads", grad)):
            if tensor.dtype != planes[0].dtype or tensor.device != planes[0].device:
                raise TypeError(
                    f"{name}[{k}] is {tensor.dtype} on {tensor.device}, but planes[0] is "
                    f"{planes[0].dtype} on {planes[0].device}; give all the same"
                )


def _on_cpu(planes: list[Tensor], grads: list[Tensor], weights: list[float]) -> Tensor:
    triples = zip(*[iter(weights)] * 3, strict=True)
    array = (_native.PenaltyPlane * len(planes))(
        *(
            (plane.data_ptr(), grad.data_ptr(), *plane.shape[:2], of_plane)
            for plane, grad, of_plane in zip(planes, grads, triples, strict=True)
        )
    )
    found = _empty(planes, grads, weights)
    _native.call("plane_penalties", found.dtype, ctypes.addressof(array), len(planes),
                 planes[0].shape[2], found)  # fmt: skip
    return found


def _empty(planes: list[Tensor], grads: list[Tensor], weights: list[float]) -> Tensor:
    return planes[0].new_empty(())


_penalties = _native.OPERATORS.define(
    "plane_penalties(Tensor[] planes, Tensor(a!)[] grads, float[] weights) -> Tensor",
    cpu=_on_cpu,
    cuda=_native.on_gpu("plane_penalties"),
    fake=_empty,
)
