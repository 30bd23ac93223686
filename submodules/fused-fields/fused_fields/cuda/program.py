"""The kernel sources, and the defines that specialise them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nvrtc_launch
import torch
from torch import Tensor

PROGRAM = nvrtc_launch.Program(Path(__file__).parents[1] / "csrc" / "cuda" / "all.cu")
THREADS = 256  # of every block; kThreads in csrc/cuda/block_sum.cuh
REAL = {torch.float32: "float", torch.float64: "double"}
WIDEST_LOAD = 16  # bytes


def blocks_for(count: int, per_block: int = THREADS) -> int:
    """How many blocks `count` things need."""
    return -(-count // per_block)


def numbers(dtype: torch.dtype) -> dict[str, object]:
    """Defines of kernels that only need to know the type of their numbers."""
    return {"REAL": REAL[dtype]}


def channels_last(tensors: Sequence[Tensor]) -> dict[str, object]:
    """Defines of kernels that read tensors "... C" in the widest packs their addresses allow."""
    channels, size = tensors[0].shape[-1], tensors[0].element_size()
    vector = WIDEST_LOAD // size
    while channels % vector or any(t.data_ptr() % (vector * size) for t in tensors):
        vector //= 2
    return {**numbers(tensors[0].dtype), "CHANNELS": channels, "VECTOR": vector}


def fields(tensors: Sequence[Tensor], planes: int, axes: int) -> dict[str, object]:
    """Defines of the lookup for `planes` per level over points of `axes` columns."""
    defines = channels_last(tensors)
    lanes, packs = 1, defines["CHANNELS"] // defines["VECTOR"]
    while lanes < min(packs, 32):
        lanes *= 2
    return {**defines, "LANES": lanes, "PLANES": planes, "AXES": axes}


def _variants() -> list[dict[str, object]]:
    """HexPlane with and without a shared time, tri-plane, odd sizes; then the rest."""
    cases = ((6, 3, 32), (6, 4, 32), (3, 3, 8), (2, 8, 37), (8, 4, 3))
    found = []
    for dtype in REAL:
        for planes, axes, channels in cases:
            found.append(fields([torch.empty(1, channels, dtype=dtype)], planes, axes))
        found.extend(channels_last([torch.empty(1, c, dtype=dtype)]) for c in (32, 3))
        found.append(numbers(dtype))
    return found


VARIANTS = _variants()  # what a compile check should try
