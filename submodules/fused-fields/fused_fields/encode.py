"""Positions encoded by sines and cosines of ever higher frequency, in one pass."""

from __future__ import annotations

import ctypes

from torch import Tensor

from . import _native, reference

MOST_OCTAVES = 64  # kMostOctaves in csrc/encode.h


def encode(points: Tensor, octaves: int) -> Tensor:
    """Points "N 3" to "N 3+6*octaves": the points, then for k = 0, 1, ... the sines of 2^k times
    them and the cosines (Mildenhall et al., "NeRF", 2020, without their factor of pi).

    Gradients go to the points; there are no second derivatives. On a GPU this is the PyTorch twin.
    Raises ValueError naming the argument that does not fit.
    """
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points has shape {tuple(points.shape)}; expected (N, 3)")
    if not 0 <= octaves <= MOST_OCTAVES:
        raise ValueError(f"octaves is {octaves}; expected 0 to {MOST_OCTAVES}")
    if not _native.runs_on([points], devices=("cpu",)):
        return reference.encode(points, octaves)
    return _encode(points.contiguous(), octaves)


def _forward(points: Tensor, octaves: int) -> Tensor:
    encoded = _empty_encoded(points, octaves)
    table = _table(points, encoded, None, octaves)
    _native.call("encode_forward", points.dtype, ctypes.addressof(table))
    return encoded


def _empty_encoded(points: Tensor, octaves: int) -> Tensor:
    return points.new_empty(len(points), 3 + 6 * octaves)


def _backward(grad: Tensor, encoded: Tensor, octaves: int) -> Tensor:
    grad_points = _empty_grad(grad, encoded, octaves)
    table = _table(None, encoded, grad_points, octaves)
    _native.call("encode_backward", grad.dtype, ctypes.addressof(table), grad)
    return grad_points


def _empty_grad(grad: Tensor, encoded: Tensor, octaves: int) -> Tensor:
    return grad.new_empty(len(grad), 3)


def _keep(ctx, inputs, output) -> None:
    _, ctx.octaves = inputs
    ctx.save_for_backward(output)


def _differentiate(ctx, grad: Tensor) -> tuple[Tensor, None]:
    return _encode_backward(grad.contiguous(), *ctx.saved_tensors, ctx.octaves), None


_encode = _native.OPERATORS.define(
    "encode(Tensor points, SymInt octaves) -> Tensor",
    cpu=_forward,
    fake=_empty_encoded,
    keep=_keep,
    differentiate=_differentiate,
)
_encode_backward = _native.OPERATORS.define(
    "encode_backward(Tensor grad, Tensor encoded, SymInt octaves) -> Tensor",
    cpu=_backward,
    fake=_empty_grad,
)


def _table(
    points: Tensor | None, encoded: Tensor, grad_points: Tensor | None, octaves: int
) -> _native.EncodedTable:
    addresses = (None if x is None else x.data_ptr() for x in (points, encoded, grad_points))
    return _native.EncodedTable(*addresses, len(encoded), octaves)
