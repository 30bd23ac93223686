"""The GPU backend: what the kernels of csrc/cuda do, in which order, and the sorts between them.

`kernels` is `functools.partial(PROGRAM.kernels, device)`, or a stand-in for it: called with
defines, it returns an object that launches kernels by name. Everything is allocated by torch on the
inputs' device and launched on its current stream; results are the same bits from run to run.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from nvrtc_launch import Kernels, Program
from torch import Tensor

from diff_gaussian_rasterization import native
from diff_gaussian_rasterization.budget import BUDGET, PAIR_BYTES
from diff_gaussian_rasterization.layout import (
    PAIR,
    Inputs,
    Saved,
    dense,
    empty_gradients,
    empty_saved,
    gradients_struct,
    scene_struct,
    struct,
)

PROGRAM = Program(Path(__file__).parent / "csrc" / "cuda" / "all.cu")
VARIANTS = [  # for a compile gate: every preprocessor branch, few and many channels, both types
    *({"REAL": "float", "SH_DEGREE": degree, "ANTIALIASED": 0} for degree in (-1, 0, 1, 3)),
    {"REAL": "float", "SH_DEGREE": 3, "ANTIALIASED": 1},
    {"REAL": "double", "SH_DEGREE": 3, "ANTIALIASED": 1},
    *({"REAL": "float", "CHANNELS": channels} for channels in (1, 3, 64)),
    *({"REAL": "float", "CHANNELS": channels, "AUX": 1, "ABSOLUTE": 0} for channels in (1, 3, 64)),
    {"REAL": "float", "CHANNELS": 3, "AUX": 0, "ABSOLUTE": 0},
    {"REAL": "float", "CHANNELS": 3, "AUX": 0, "ABSOLUTE": 1},
    {"REAL": "double", "CHANNELS": 32},
    {"REAL": "double", "CHANNELS": 32, "AUX": 1, "ABSOLUTE": 1},
]

_THREADS = 256  # kThreads of device.cuh
_CHANNELS_AT_ONCE = 32  # more take several passes over the image: registers and shared memory end
_MOMENTS = 6  # columns of a pair's share before its colours, kMomentSums
_OUTLINE = 8  # numbers of an Outline
_POSE = 12  # kPoseNumbers
_PAIR = PAIR_BYTES["cuda"]
_MOST_PAIRS_LOG2 = 31  # torch sorts no more at once
NARROW_TILES = 2**15  # fewer fit into 16-bit keys: half the key bits are half the sort

KernelsFactory = Callable[..., Kernels]


class PairList(ctypes.Structure):
    """PairList of place.cuh."""

    _fields_: ClassVar = [
        *((name, ctypes.c_void_p) for name in ("keys", "pairs")),
        ("capacity", ctypes.c_int64),
        *((name, ctypes.c_int32) for name in ("narrow", "unused")),
    ]


class Projected(NamedTuple):
    """What projection leaves for the passes after it."""

    saved: Saved  # splats, features, radii filled
    offsets: Tensor  # N + 1 int64: running sum of the pair counts; negative for a bad camera
    outlines: Tensor  # N 8
    order: Tensor  # N int64: Gaussians, nearest first, undrawn ones last
    ends: Tensor  # N int64: running sum of the pair counts in that order

    @property
    def pairs(self) -> Tensor:
        """Scalar int64 on the device: how many pairs there are."""
        return self.offsets[-1]


def forward(inputs: Inputs, kernels: KernelsFactory) -> Saved:
    """Draw; waits for the device once, to learn the number of pairs.

    Raises ValueError for a camera that is not finite or has no focal length, for `means2d_abs` with
    more channels than one pass takes, and for pairs as `check_pairs` does.
    """
    if inputs.means2d_abs is not None and inputs.channels > _CHANNELS_AT_ONCE:
        raise ValueError(
            f"means2d_abs with {inputs.channels} channels: a GPU adds its gradient up in one pass, "
            f"of at most {_CHANNELS_AT_ONCE} channels"
        )
    inputs = dense(inputs)
    projected = project(inputs, kernels)
    pairs = check_pairs(int(projected.pairs), inputs.means.device)
    saved = sort_pairs(inputs, projected, max(pairs, 1), kernels)
    blend(inputs, saved, kernels)
    return saved._replace(offsets=projected.offsets.to(torch.int32), pairs=saved.pairs[:pairs])


def draw_within(inputs: Inputs, capacity: int, kernels: KernelsFactory) -> tuple[Saved, Tensor]:
    """Draw with room for `capacity` pairs (at least 1), never waiting: a CUDA graph can record it.

    Returns the image, whole only if there were not more pairs, and how many there were: a scalar
    on the device that `check_pairs` understands. What `backward` needs is not all there.
    """
    inputs = dense(inputs)
    projected = project(inputs, kernels)
    saved = sort_pairs(inputs, projected, capacity, kernels)
    blend(inputs, saved, kernels)
    return saved, projected.pairs


def check_pairs(pairs: int, device: torch.device) -> int:
    """The number of pairs as read back, or the error it stands for: ValueError for a bad camera or
    more than a sort takes, OutOfMemoryError for more than the budget allows."""
    if pairs < 0:
        raise ValueError(native.BAD_CAMERA)
    BUDGET.check(pairs, _PAIR.sorting, device)
    if pairs >= 2**_MOST_PAIRS_LOG2:
        raise ValueError(native.TOO_MANY_PAIRS.format(_MOST_PAIRS_LOG2))
    return pairs


def project(inputs: Inputs, kernels: KernelsFactory) -> Projected:
    """Gaussians to splats, in memory and in depth order."""
    means, count = inputs.means, inputs.means.shape[0]
    saved = empty_saved(inputs, 0)
    outlines, depths = means.new_empty((count, _OUTLINE)), means.new_empty((count,))
    counts = means.new_empty((count + 1,), dtype=torch.int64)
    _per_gaussian(inputs, kernels).launch(
        "project_gaussians", _blocks(count + 1), _THREADS,
        scene_struct(inputs), _state(saved), outlines, depths, counts,
    )  # fmt: skip
    order = torch.sort(depths, stable=True).indices
    ends = torch.cumsum(counts[1:][order], 0)
    return Projected(saved, torch.cumsum(counts, 0), outlines, order, ends)


def sort_pairs(
    inputs: Inputs, projected: Projected, capacity: int, kernels: KernelsFactory
) -> Saved:
    """Pairs sorted by tile, then by depth; those beyond `capacity` (at least 1) are dropped."""
    count, tiles = inputs.means.shape[0], inputs.tiles
    narrow = tiles < NARROW_TILES
    kind = torch.int16 if narrow else torch.int32
    keys = torch.full((capacity,), tiles, dtype=kind, device=inputs.means.device)
    placed = keys.new_empty((capacity, PAIR), dtype=torch.int32)
    _per_gaussian(inputs, kernels).launch(
        "place_pairs", _blocks(count), _THREADS,
        scene_struct(inputs), projected.outlines, projected.offsets, projected.order,
        projected.ends, PairList(keys.data_ptr(), placed.data_ptr(), capacity, narrow),
    )  # fmt: skip
    keys, index = torch.sort(keys, stable=True)
    saved = projected.saved._replace(pairs=torch.empty_like(placed))
    _per_pixel(inputs, kernels).launch(
        "collect_pairs", _blocks(capacity), _THREADS,
        keys, ctypes.c_int32(narrow), index, placed, ctypes.c_int64(capacity),
        ctypes.c_int32(tiles), saved.pairs, saved.tiles,
    )  # fmt: skip
    return saved


def blend(inputs: Inputs, saved: Saved, kernels: KernelsFactory) -> None:
    """Fill color, depth and alpha of `saved`."""
    image = struct(native.Image, saved._asdict())
    for first in range(0, inputs.channels, _CHANNELS_AT_ONCE):
        _per_pixel(inputs, kernels, first).launch(
            "blend_pixels", inputs.tiles, _THREADS,
            scene_struct(inputs), _state(saved), image, ctypes.c_int32(first),
        )  # fmt: skip


def backward(
    inputs: Inputs,
    saved: Saved,
    image_grads: tuple[Tensor | None, ...],
    wanted: int,
    kernels: KernelsFactory,
) -> list[Tensor]:
    """Gradients to the fields of DIFFERENTIABLE whose bits `wanted` has; the others are empty.

    image_grads: of color "C H W", depth "1 H W", alpha "1 H W"; None = zeros. Never waits.
    """
    inputs = dense(inputs)
    results = [grad.zero_() for grad in empty_gradients(inputs, wanted)]
    gradients, held = gradients_struct(image_grads, results)
    named = Inputs(*results, *inputs[len(results) :])
    with_depth = held[1] is not None or held[2] is not None
    absolute = named.means2d_abs.numel() > 0
    kinds = {"AUX": int(with_depth), "ABSOLUTE": int(absolute)}
    sums = _blend_backward(inputs, saved, gradients, kinds, named.background, kernels)
    poses = _project_backward(inputs, saved, gradients, sums, named.viewmat, kernels)
    if named.colors.numel():
        named.colors.copy_(sums[:, _MOMENTS : _MOMENTS + inputs.channels])
    if absolute:
        column = _MOMENTS + inputs.channels + 1
        for axis, size in enumerate((inputs.width, inputs.height)):
            torch.mul(sums[:, column + axis], size / 2, out=named.means2d_abs[:, axis])
    if named.viewmat.numel():
        named.viewmat[:3, :3] = poses[:9].reshape(3, 3)
        named.viewmat[:3, 3] = poses[9:]
    return results


def _blend_backward(
    inputs: Inputs,
    saved: Saved,
    gradients: native.Gradients,
    kinds: dict[str, int],
    background: Tensor,
    kernels: KernelsFactory,
) -> Tensor:
    """Each Gaussian's sums over pixels "N stride": moments, colours, depth, absolute gradients;
    fills `background`.

    kinds: the defines AUX and ABSOLUTE of the pass over the first channels.
    """
    means, channels = inputs.means, inputs.channels
    columns = channels + 2 * kinds["ABSOLUTE"]
    stride = _PAIR.share(columns)
    each = _PAIR.kept + _PAIR.adding(columns, means.element_size())
    BUDGET.check(len(saved.pairs), each, means.device)
    rows = means.new_zeros((len(saved.pairs), stride))
    parts = means.new_zeros((inputs.tiles, channels)) if background.numel() else None
    image = struct(native.Image, saved._asdict())
    for first in range(0, channels, _CHANNELS_AT_ONCE):
        of_pass = kinds if first == 0 else {"AUX": 0, "ABSOLUTE": 0}
        _per_pixel(inputs, kernels, first, **of_pass).launch(
            "blend_pixels_backward", inputs.tiles, _THREADS,
            scene_struct(inputs), _state(saved), image, gradients, ctypes.c_int32(first),
            rows, ctypes.c_int32(stride), parts,
        )  # fmt: skip
    if parts is not None:
        background.copy_(parts.sum(0))
    sums = means.new_empty((len(means), stride))
    packets = stride * means.element_size() // 16
    _per_gaussian(inputs, kernels).launch(
        "sum_slots", _blocks(len(means) * packets), _THREADS,
        rows, saved.offsets, ctypes.c_int64(len(means)), ctypes.c_int32(packets), sums,
    )  # fmt: skip
    return sums


def _project_backward(
    inputs: Inputs,
    saved: Saved,
    gradients: native.Gradients,
    sums: Tensor,
    viewmat: Tensor,
    kernels: KernelsFactory,
) -> Tensor | None:
    """Fills the Gaussians' gradients; returns the camera's, 12 numbers, when `viewmat` has room."""
    blocks = _blocks(len(sums))
    poses = sums.new_empty((blocks, _POSE)) if viewmat.numel() else None
    _per_gaussian(inputs, kernels).launch(
        "project_gaussians_backward", blocks, _THREADS,
        scene_struct(inputs), _state(saved), gradients, sums, ctypes.c_int32(sums.shape[1]), poses,
    )  # fmt: skip
    return None if poses is None else poses.sum(0)


def _blocks(threads: int) -> int:
    return -(-threads // _THREADS)


def _state(saved: Saved) -> native.State:
    return struct(native.State, saved._asdict())


def _real(inputs: Inputs) -> str:
    return "double" if inputs.means.dtype == torch.float64 else "float"


def _per_gaussian(inputs: Inputs, kernels: KernelsFactory) -> Kernels:
    degree = -1 if inputs.sh is None else inputs.sh_degree
    return kernels(REAL=_real(inputs), SH_DEGREE=degree, ANTIALIASED=int(inputs.antialiased))


def _per_pixel(inputs: Inputs, kernels: KernelsFactory, first: int = 0, **kinds: int) -> Kernels:
    """The forward kernels of the pass that begins with channel `first`; the backward one with
    AUX and ABSOLUTE."""
    channels = min(inputs.channels - first, _CHANNELS_AT_ONCE)
    return kernels(REAL=_real(inputs), CHANNELS=channels, **kinds)
