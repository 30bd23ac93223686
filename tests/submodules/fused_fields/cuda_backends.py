"""The public functions on the CUDA kernels: emulated, on CPU tensors, and on a GPU where there is
one.

Emulated, the host code and the kernels are the very ones a GPU runs; only autograd is put together
here, since the operators give CPU tensors to the CPU kernels.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import fused_fields
import pytest
import torch
from fused_fields import HEXPLANE_PAIRS, cuda
from fused_fields.planes import _axes_of

from tests.submodules.emulation import emulated

EMULATED = ["forward", "backward"]  # orders of blocks and threads
NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
BACKENDS = [*EMULATED, pytest.param("gpu", marks=NO_GPU)]


@dataclass(frozen=True)
class Backend:
    device: str
    plane_features: Callable
    add_plane_penalties: Callable
    ssim: Callable
    adam_step: Callable
    mix_bases: Callable
    skin: Callable
    activate: Callable
    mean_error: Callable
    turn_copies: Callable
    carry: Callable


def backend(name):
    """The functions by name: "forward" or "backward" (emulated), or "gpu"."""
    if name == "gpu":
        functions = [field.name for field in fields(Backend)[1:]]
        return Backend("cuda", *(getattr(fused_fields, function) for function in functions))
    kernels = emulated(cuda.PROGRAM, name)

    def plane_features(field, points, *, pairs=HEXPLANE_PAIRS, time=None):
        axes = _axes_of(field, points, pairs, time)
        flat = [plane for level in field for plane in level]
        return Lookup.apply(kernels, axes, time or 0.0, points, *flat)

    def add_plane_penalties(planes, grads, weights):
        flat = [weight for row in weights for weight in row]
        return cuda.plane_penalties(planes, grads, flat, kernels)

    def ssim(a, b, *, padding="same"):
        return Ssim.apply(kernels, {"same": 0, "valid": 5}[padding], a, b)

    def adam_step(*tensors, lr, step, betas=(0.9, 0.999), eps=1e-8, rows=None):
        count = len(tensors[0])
        rates, spreads = [lr / (1 - betas[0] ** step)], [(1 - betas[1] ** step) ** -0.5]
        cuda.adam_step(
            *map(list, tensors), rows, rates * count, spreads * count, betas, eps, kernels
        )

    def mix_bases(bases, weights):
        return Mix.apply(kernels, bases, weights)

    def skin(points, shifts, weights, quats, bones, turns, canonical=None):
        motions = torch.cat([bones.flatten(1), turns], 1)
        if canonical is not None:
            canonical = torch.nn.functional.pad(canonical.flatten(1), (0, 4))
        return Skin.apply(kernels, points, shifts, weights, quats, motions, canonical)

    def activate(*columns, bands):
        return Activate.apply(kernels, bands, *columns)

    def mean_error(a, b, *, squared):
        return Error.apply(kernels, squared, a, b)

    def turn_copies(points, quats):
        return Turn.apply(kernels, points, quats)

    def carry(*inputs):
        return Carry.apply(kernels, *inputs)

    return Backend(
        "cpu", plane_features, add_plane_penalties, ssim, adam_step, mix_bases, skin, activate,
        mean_error, turn_copies, carry,
    )  # fmt: skip


class Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx, kernels, axes, time, points, *planes):
        ctx.save_for_backward(points, *planes)
        ctx.rest = axes, time, kernels
        return cuda.lookup(list(planes), points, axes, time, kernels)

    @staticmethod
    def backward(ctx, grad):
        points, *planes = ctx.saved_tensors
        *grads, grad_points = cuda.lookup_backward(grad.contiguous(), planes, points, *ctx.rest)
        return None, None, None, grad_points, *grads


class Carry(torch.autograd.Function):
    @staticmethod
    def forward(ctx, kernels, *inputs):
        ctx.save_for_backward(*inputs)
        ctx.kernels = kernels
        return cuda.carry(*inputs, kernels)

    @staticmethod
    def backward(ctx, *grads):
        upstream = [grad.contiguous() for grad in grads]
        return None, *cuda.carry_backward(upstream, list(ctx.saved_tensors), ctx.kernels)


class Ssim(torch.autograd.Function):
    @staticmethod
    def forward(ctx, kernels, margin, a, b):
        mean, partials = cuda.ssim(a, b, margin, True, kernels)
        ctx.save_for_backward(a, b, partials)
        ctx.rest = margin, kernels
        return mean

    @staticmethod
    def backward(ctx, scale):
        margin, kernels = ctx.rest
        wants = list(ctx.needs_input_grad[2:])
        grads = cuda.ssim_backward(*ctx.saved_tensors, scale, margin, wants, kernels)
        return None, None, *(g if want else None for g, want in zip(grads, wants, strict=True))


class Mix(torch.autograd.Function):
    @staticmethod
    def forward(ctx, kernels, bases, weights):
        ctx.save_for_backward(bases, weights)
        ctx.kernels = kernels
        return cuda.mix_bases(bases, weights, kernels)

    @staticmethod
    def backward(ctx, grad):
        wants_bases = ctx.needs_input_grad[1]
        bases, weights = cuda.mix_bases_backward(
            grad.contiguous(), *ctx.saved_tensors, wants_bases, ctx.kernels
        )
        return None, bases if wants_bases else None, weights


class Skin(torch.autograd.Function):
    @staticmethod
    def forward(ctx, kernels, *inputs):
        ctx.save_for_backward(*inputs)
        ctx.kernels = kernels
        return cuda.skin(*inputs, kernels)

    @staticmethod
    def backward(ctx, *grads):
        wants_motions = ctx.needs_input_grad[5]
        grads = [grad.contiguous() for grad in grads]
        *found, motions = cuda.skin_backward(*grads, *ctx.saved_tensors, wants_motions, ctx.kernels)
        return None, *found, motions if wants_motions else None, None


class Activate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, kernels, bands, *columns):
        drawn = cuda.activate(*columns, bands, kernels)
        ctx.save_for_backward(*columns, *drawn)
        ctx.kernels = kernels
        return drawn

    @staticmethod
    def backward(ctx, *grads):
        raw, drawn = list(ctx.saved_tensors[:5]), list(ctx.saved_tensors[5:])
        grads = [grad.contiguous() for grad in grads]
        return None, None, *cuda.activate_backward(grads, raw, drawn, ctx.kernels)


class Turn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, kernels, points, quats):
        ctx.save_for_backward(points, quats)
        ctx.kernels = kernels
        return cuda.turn_copies(points, quats, kernels)

    @staticmethod
    def backward(ctx, grad):
        wants = list(ctx.needs_input_grad[1:])
        found = cuda.turn_copies_backward(grad.contiguous(), *ctx.saved_tensors, wants, ctx.kernels)
        return None, *(g if want else None for g, want in zip(found, wants, strict=True))


class Error(torch.autograd.Function):
    @staticmethod
    def forward(ctx, kernels, squared, a, b):
        ctx.save_for_backward(a, b)
        ctx.rest = squared, kernels
        return cuda.mean_error(a, b, squared, kernels)

    @staticmethod
    def backward(ctx, scale):
        grad = cuda.mean_error_backward(*ctx.saved_tensors, scale, *ctx.rest)
        return None, None, grad, -grad
