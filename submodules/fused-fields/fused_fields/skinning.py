"""Linear blend skinning of points that have turns of their own."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from . import _native, reference

MOTION = 16  # numbers of a bone's motion: a 3 x 4 matrix, then a quaternion


def skin(
    points: Tensor,
    shifts: Tensor,
    weights: Tensor,
    quats: Tensor,
    bones: Tensor,
    turns: Tensor,
    canonical: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Posed places "N 3" and quaternions "N 4" (wxyz) of points at rest.

    A point at rest, "N 3", is moved by its shift, "N 3", then by the sum of the `bones`, "J 3 4",
    times its `weights`, "N J". Its quaternion, "N 4", is turned by the sum of the bones' `turns`,
    "J 4", times the same weights, at length one: quaternions of one half of the sphere, for q and
    -q are the same turn. With `canonical`, "J 3 4", points are where these bones have taken them,
    and are taken back first; their sums need not be rotations, but must have an inverse.

    Gradients go to all but `canonical`, the same bits for any number of threads; there are no
    second derivatives.

    Raises ValueError or TypeError naming what does not fit.
    """
    _check(points, shifts, weights, quats, bones, turns, canonical)
    tensors = [points, shifts, weights, quats]
    if not _native.runs_on([*tensors, bones, turns]):
        return reference.skin(*tensors, bones, turns, canonical)
    motions = torch.cat([bones.flatten(1), turns], dim=1)
    if canonical is not None:
        canonical = torch.nn.functional.pad(canonical.flatten(1), (0, turns.shape[1]))
    return _skin(*(tensor.contiguous() for tensor in tensors), motions, canonical)


def _check(
    points: Tensor,
    shifts: Tensor,
    weights: Tensor,
    quats: Tensor,
    bones: Tensor,
    turns: Tensor,
    canonical: Tensor | None,
) -> None:
    rows, joints = len(points), len(bones)
    wanted = {
        "points": (points, (rows, 3)),
        "shifts": (shifts, (rows, 3)),
        "weights": (weights, (rows, joints)),
        "quats": (quats, (rows, 4)),
        "bones": (bones, (joints, 3, 4)),
        "turns": (turns, (joints, 4)),
    }
    if canonical is not None:
        wanted["canonical"] = (canonical, (joints, 3, 4))
        if canonical.requires_grad:
            raise TypeError("canonical requires a gradient, and has none; detach it")
    for name, (tensor, shape) in wanted.items():
        if tensor.shape != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected {shape}")
        if (tensor.dtype, tensor.device) != (points.dtype, points.device):
            raise TypeError(
                f"{name} is {tensor.dtype} on {tensor.device} and points is {points.dtype} on "
                f"{points.device}; give both the same"
            )


def _forward(
    points: Tensor,
    shifts: Tensor,
    weights: Tensor,
    quats: Tensor,
    motions: Tensor,
    canonical: Tensor | None,
) -> tuple[Tensor, Tensor]:
    found = _empty_posed(points, shifts, weights, quats, motions, canonical)
    table = _table(points, shifts, weights, quats)
    _native.call("skin_forward", points.dtype, ctypes.addressof(table), motions, canonical, *found)
    return found


def _empty_posed(points, shifts, weights, quats, motions, canonical) -> tuple[Tensor, Tensor]:
    return torch.empty_like(points), torch.empty_like(quats)


def _backward(
    grad_means: Tensor,
    grad_quats: Tensor,
    points: Tensor,
    shifts: Tensor,
    weights: Tensor,
    quats: Tensor,
    motions: Tensor,
    canonical: Tensor | None,
    wants_motions: bool,
) -> list[Tensor]:
    """Gradients of points, shifts, weights, quats and motions; the last empty if not wanted."""
    given = points, shifts, weights, quats, motions, canonical, wants_motions
    found = _empty_grads(grad_means, grad_quats, *given)
    table = _table(points, shifts, weights, quats)
    _native.call(
        "skin_backward", points.dtype, ctypes.addressof(table), motions, canonical, grad_means,
        grad_quats, *found[:4], found[4] if wants_motions else None,
    )  # fmt: skip
    return found


def _empty_grads(
    grad_means, grad_quats, points, shifts, weights, quats, motions, canonical, wants_motions
) -> list[Tensor]:
    found = [torch.empty_like(tensor) for tensor in (points, shifts, weights, quats)]
    return [*found, motions.new_empty(motions.shape if wants_motions else (0,))]


def _keep(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx, grad_means: Tensor, grad_quats: Tensor) -> tuple[Tensor | None, ...]:
    wants_motions = ctx.needs_input_grad[4]
    grads = grad_means.contiguous(), grad_quats.contiguous()
    *found, motions = _skin_backward(*grads, *ctx.saved_tensors, wants_motions)
    return *found, motions if wants_motions else None, None


_skin = _native.OPERATORS.define(
    "skin(Tensor points, Tensor shifts, Tensor weights, Tensor quats, Tensor motions, "
    "Tensor? canonical) -> (Tensor, Tensor)",
    cpu=_forward,
    cuda=_native.on_gpu("skin"),
    fake=_empty_posed,
    keep=_keep,
    differentiate=_differentiate,
)
_skin_backward = _native.OPERATORS.define(
    "skin_backward(Tensor grad_means, Tensor grad_quats, Tensor points, Tensor shifts, "
    "Tensor weights, Tensor quats, Tensor motions, Tensor? canonical, bool wants_motions) "
    "-> Tensor[]",
    cpu=_backward,
    cuda=_native.on_gpu("skin_backward"),
    fake=_empty_grads,
)


def _table(points: Tensor, shifts: Tensor, weights: Tensor, quats: Tensor) -> _native.SkinTable:
    addresses = (tensor.data_ptr() for tensor in (points, shifts, weights, quats))
    return _native.SkinTable(*addresses, *weights.shape)
