"""Mean absolute and mean squared differences of pictures, and their gradients, in one pass each."""

from __future__ import annotations

import torch
from torch import Tensor

from . import _native, reference


def mean_error(a: Tensor, b: Tensor, *, squared: bool) -> Tensor:
    """The mean of abs(a - b), or of (a - b)^2 where `squared`: a scalar.

    `a` and `b` have one shape, any but an empty one. Gradients go to whichever requires one; where
    a = b, that of the absolute difference is 0.

    Raises ValueError or TypeError where they do not fit each other.
    """
    if a.shape != b.shape or not a.numel():
        raise ValueError(
            f"a and b have shapes {tuple(a.shape)} and {tuple(b.shape)}; expected one, not empty"
        )
    if a.dtype != b.dtype or a.device != b.device:
        raise TypeError(
            f"a is {a.dtype} on {a.device} and b is {b.dtype} on {b.device}; give both the same"
        )
    if not _native.runs_on([a, b]):
        return reference.mean_error(a, b, squared=squared)
    return _error(a.contiguous(), b.contiguous(), squared)


def _forward(a: Tensor, b: Tensor, squared: bool) -> Tensor:
    mean = _empty_mean(a, b, squared)
    _native.call("error_forward", a.dtype, a, b, a.numel(), squared, mean)
    return mean


def _empty_mean(a: Tensor, b: Tensor, squared: bool) -> Tensor:
    return a.new_empty(())


def _backward(a: Tensor, b: Tensor, scale: Tensor, squared: bool) -> Tensor:
    """The gradient to a from `scale`, that of the mean; the gradient to b is its negative."""
    grad = _empty_grad(a, b, scale, squared)
    each = (2 if squared else 1) * float(scale) / a.numel()
    _native.call("error_backward", a.dtype, a, b, a.numel(), squared, each, grad)
    return grad


def _empty_grad(a: Tensor, b: Tensor, scale: Tensor, squared: bool) -> Tensor:
    return torch.empty_like(a)


def _keep(ctx, inputs, output) -> None:
    a, b, ctx.squared = inputs
    ctx.save_for_backward(a, b)


def _differentiate(ctx, scale: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    grad = _error_backward(*ctx.saved_tensors, scale, ctx.squared)
    to_a, to_b = ctx.needs_input_grad[:2]
    return grad if to_a else None, -grad if to_b else None, None


_error = _native.OPERATORS.define(
    "mean_error(Tensor a, Tensor b, bool squared) -> Tensor",
    cpu=_forward,
    cuda=_native.on_gpu("mean_error"),
    fake=_empty_mean,
    keep=_keep,
    differentiate=_differentiate,
)
_error_backward = _native.OPERATORS.define(
    "mean_error_backward(Tensor a, Tensor b, Tensor scale, bool squared) -> Tensor",
    cpu=_backward,
    cuda=_native.on_gpu("mean_error_backward"),
    fake=_empty_grad,
)
