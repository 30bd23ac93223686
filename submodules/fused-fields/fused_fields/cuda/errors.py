"""Mean differences and their gradient: the kernels of csrc/cuda/mean_error.cuh."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_int32, c_int64

import torch
from nvrtc_launch import Kernels
from torch import Tensor

from .program import THREADS, blocks_for, numbers

ERRORS_PER_THREAD = 4  # kErrorsPerThread in csrc/cuda/mean_error.cuh


def mean_error(a: Tensor, b: Tensor, squared: bool, kernels: Callable[..., Kernels]) -> Tensor:
    """The mean of abs(a - b), or of (a - b)^2 where `squared`."""
    blocks = blocks_for(a.numel(), THREADS * ERRORS_PER_THREAD)
    sums = a.new_empty(blocks, dtype=torch.float64)
    kernels(**numbers(a.dtype)).launch(
        "error_forward", blocks, THREADS, a, b, c_int64(a.numel()), c_int32(squared), sums
    )
    return (sums.sum() / a.numel()).to(a.dtype)


def mean_error_backward(
    a: Tensor, b: Tensor, scale: Tensor, squared: bool, kernels: Callable[..., Kernels]
) -> Tensor:
    """The gradient to a from `scale`, that of the mean."""
    grad = torch.empty_like(a)
    kernels(**numbers(a.dtype)).launch(
        "error_backward", blocks_for(a.numel()), THREADS, a, b, c_int64(a.numel()),
        c_int32(squared), scale.contiguous(), grad,
    )  # fmt: skip
    return grad
