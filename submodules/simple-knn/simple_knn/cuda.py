"""The search on a GPU: all pairs, tile by tile through shared memory (csrc/cuda/knn.cu)."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_int32
from pathlib import Path

import torch
from nvrtc_launch import Kernels, Program
from torch import Tensor

__all__ = ["MAX_K", "MAX_POINTS", "PROGRAM", "VARIANTS", "mean_squared_distance"]

PROGRAM = Program(Path(__file__).parent / "csrc" / "cuda" / "knn.cu")
TILE = 256
MAX_K = 8  # the nearest squared distances of a thread are in registers
# Work grows with the square: half a million points are 2.5e11 pairs of about a dozen instructions,
# near a second on a T4-class card and a tenth of that on an H200-class one, by counting. Above it
# the k-d tree on the host is not far behind, and desktop drivers stop kernels that take seconds.
MAX_POINTS = 500_000
REALS = {torch.float32: "float", torch.float64: "double"}
VARIANTS = [
    {"REAL": "float", "K": 3, "TILE": TILE},
    {"REAL": "double", "K": 3, "TILE": TILE},
    {"REAL": "float", "K": 1, "TILE": TILE},
    {"REAL": "double", "K": 8, "TILE": TILE},
]


def mean_squared_distance(points: Tensor, k: int, kernels: Callable[..., Kernels]) -> Tensor:
    """Mean of the squared distances from each point to its k nearest others: (N, 3) -> (N,).

    points: at least 2, finite; float64 is searched in double precision, anything else in single.
    k: 1 to MAX_K. kernels: the factory, `functools.partial(PROGRAM.kernels, device)`.
    """
    real = torch.float64 if points.dtype == torch.float64 else torch.float32
    dense = points.detach().to(real).contiguous()
    n = len(dense)
    means = dense.new_empty(n)
    blocks = (n + TILE - 1) // TILE
    compiled = kernels(REAL=REALS[real], K=k, TILE=TILE)
    compiled.launch("mean_squared_distance", blocks, TILE, dense, means, c_int32(n))
    return means.to(points.dtype)
