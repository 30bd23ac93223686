"""The kernels as torch operators: shapes for tracing, gradients for autograd, one body per
device."""

from __future__ import annotations

import functools

import torch
from native_kernels.operators import Operators

from diff_gaussian_rasterization import cpu
from diff_gaussian_rasterization.layout import (
    DIFFERENTIABLE,
    TENSORS,
    Inputs,
    Saved,
    empty_gradients,
    empty_saved,
)

_INPUTS = (
    "Tensor means, Tensor? quats, Tensor? scales, Tensor? covariances, Tensor opacities, "
    "Tensor? sh, Tensor? colors, Tensor? means2d, Tensor? means2d_abs, "
    "Tensor viewmat, Tensor? background, Tensor K, "
    "SymInt width, SymInt height, SymInt sh_degree, float near, float far, bool antialiased"
)
_SAVED = ", ".join(f"Tensor {name}" for name in Saved._fields)
_GRADS = "Tensor? grad_color, Tensor? grad_depth, Tensor? grad_alpha, SymInt wanted"


def _forward_cpu(*args):
    return tuple(cpu.forward(Inputs(*args)))


def _forward_cuda(*args):
    from diff_gaussian_rasterization import cuda  # needs nvrtc-launch, which CPUs do without

    return tuple(cuda.forward(Inputs(*args), _kernels(cuda, args)))


def _forward_fake(*args):
    return tuple(empty_saved(Inputs(*args), torch.library.get_ctx().new_dynamic_size()))


def _backward_cpu(*args):
    return cpu.backward(*_split(args))


def _backward_cuda(*args):
    from diff_gaussian_rasterization import cuda

    return cuda.backward(*_split(args), _kernels(cuda, args))


def _backward_fake(*args):
    return empty_gradients(Inputs(*args[: len(Inputs._fields)]), args[-1])


def _split(args):
    """The flat arguments of `backward` as inputs, saved, gradients of the image, wanted."""
    first, then = len(Inputs._fields), len(Inputs._fields) + len(Saved._fields)
    return Inputs(*args[:first]), Saved(*args[first:then]), args[then:-1], args[-1]


def _kernels(cuda, args):
    return functools.partial(cuda.PROGRAM.kernels, args[0].device)


def _setup_context(ctx, inputs, output):
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:TENSORS], *output)
    ctx.numbers = inputs[TENSORS:]


def _differentiate(ctx, *grads):
    wanted = sum(1 << i for i in range(len(DIFFERENTIABLE)) if ctx.needs_input_grad[i])
    image_grads = grads[:3]
    nothing = [None] * len(Inputs._fields)
    if wanted == 0 or all(g is None for g in image_grads):
        return tuple(nothing)
    tensors = ctx.saved_tensors
    results = backward(*tensors[:TENSORS], *ctx.numbers, *tensors[TENSORS:], *image_grads, wanted)
    for i, result in enumerate(results):
        if wanted >> i & 1:
            nothing[i] = result
    return tuple(nothing)


_OPERATORS = Operators("diff_gaussian_rasterization")
# Draws `Inputs`; returns the fields of `Saved`.
forward = _OPERATORS.define(
    f"forward({_INPUTS}) -> ({', '.join(['Tensor'] * len(Saved._fields))})",
    cpu=_forward_cpu,
    cuda=_forward_cuda,
    fake=_forward_fake,
    keep=_setup_context,
    differentiate=_differentiate,
)
# Gradients to the fields of DIFFERENTIABLE whose bits `wanted` has; the others are empty.
backward = _OPERATORS.define(
    f"backward({_INPUTS}, {_SAVED}, {_GRADS}) -> Tensor[]",
    cpu=_backward_cpu,
    cuda=_backward_cuda,
    fake=_backward_fake,
)
