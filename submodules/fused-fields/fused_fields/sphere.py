"""A step of Riemannian Adam (Becigneul and Ganea 2019) on the unit sphere, in one pass."""

from __future__ import annotations

import ctypes
import math

import torch
from torch import Tensor

from . import _native, reference
from .adam import _check

QUAT = 4  # numbers of a row that the kernel takes; kQuat in csrc/rows.h


@torch.no_grad()
def sphere_step(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    *,
    lr: float,
    step: int,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> None:
    """Move `param` "... D", whose last axis has unit length, along the sphere, downhill, in place.

    Of the gradient counts what lies across `param`. The step is that of Adam, with one second
    moment per vector, the mean square of the gradient's length, which all its D numbers hold; a
    vector then gets unit length again, and its first moment what lies across it there. `lr` is the
    learning rate, `step` the number of this step, counted from 1.

    The native kernel takes D = 4 on the CPU; anything else runs on the PyTorch twin. `param` and
    both moments have to be contiguous. Raises ValueError or TypeError naming what does not fit.
    """
    _check([param], [grad], [exp_avg], [exp_avg_sq], [step], None)
    rate, spread = lr / (1 - betas[0] ** step), 1 / math.sqrt(1 - betas[1] ** step)
    native = param.ndim > 0 and param.shape[-1] == QUAT
    run = _step if native and _native.runs_on([param], devices=("cpu",)) else reference.sphere_step
    run(param, grad.contiguous(), exp_avg, exp_avg_sq, rate, spread, list(betas), eps)
    for tensor in (param, exp_avg, exp_avg_sq):
        torch.autograd.graph.increment_version(tensor)  # autograd refuses what it kept of them


def _step_on_cpu(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    rate: float,
    spread: float,
    betas: list[float],
    eps: float,
) -> None:
    addresses = (tensor.data_ptr() for tensor in (param, grad, exp_avg, exp_avg_sq))
    tensors = (_native.AdamTensor * 1)()
    tensors[0] = _native.AdamTensor(*addresses, param.numel() // QUAT, QUAT, rate, spread)
    whole = _native.AdamStep(tensors, 1, *betas, eps)
    _native.call("sphere_step", param.dtype, ctypes.addressof(whole))


_step = _native.OPERATORS.define(
    "sphere_step(Tensor(a!) param, Tensor grad, Tensor(b!) exp_avg, Tensor(c!) exp_avg_sq, "
    "float rate, float spread, float[] betas, float eps) -> ()",
    cpu=_step_on_cpu,
    fake=lambda *arguments: None,
)
