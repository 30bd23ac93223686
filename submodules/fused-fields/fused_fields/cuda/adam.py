"""One Adam step of many tensors: the kernel of csrc/cuda/adam.cuh."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import c_double, c_int32, c_int64, c_void_p

from native_kernels import members
from nvrtc_launch import Kernels
from torch import Tensor

from .program import THREADS, blocks_for, numbers

MOST_TENSORS = 40  # of one launch; kMostTensors in csrc/cuda/adam.cuh
NUMBERS_PER_THREAD = 4  # kNumbersPerThread there


class AdamTensor(ctypes.Structure):
    """Mirrors `AdamTensor` in csrc/cuda/adam.cuh."""

    _fields_ = members(
        param=c_void_p, grad=c_void_p, exp_avg=c_void_p, exp_avg_sq=c_void_p, count=c_int64,
        rate=c_double, spread=c_double, row_size=c_int32, first_block=c_int32,
    )  # fmt: skip


class AdamTensors(ctypes.Structure):
    """Mirrors `AdamTensors` in csrc/cuda/adam.cuh."""

    _fields_ = members(
        tensors=AdamTensor * MOST_TENSORS, beta1=c_double, beta2=c_double, eps=c_double,
        count=c_int32,
    )  # fmt: skip


def adam_step(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    rows: Tensor | None,
    rates: list[float],
    spreads: list[float],
    betas: list[float],
    eps: float,
    kernels: Callable[..., Kernels],
) -> None:
    """Update `params` and both moments in place; arguments as of the operator in adam.py."""
    run = kernels(**numbers(params[0].dtype))
    table = list(zip(params, grads, exp_avgs, exp_avg_sqs, rates, spreads, strict=True))
    for first in range(0, len(table), MOST_TENSORS):
        some, blocks = AdamTensors(beta1=betas[0], beta2=betas[1], eps=eps), 0
        for *tensors, rate, spread in table[first : first + MOST_TENSORS]:
            count = tensors[0].numel()
            some.tensors[some.count] = AdamTensor(
                *(tensor.data_ptr() for tensor in tensors), count, rate, spread,
                max(count // max(len(tensors[0]), 1), 1) if rows is not None else 1, blocks,
            )  # fmt: skip
            some.count += 1
            blocks += blocks_for(count, THREADS * NUMBERS_PER_THREAD)
        run.launch("adam_step", blocks, THREADS, some, rows)
