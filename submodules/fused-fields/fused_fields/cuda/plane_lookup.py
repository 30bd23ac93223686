"""Plane lookup and its gradient: kernels of csrc/cuda/plane_lookup*.cuh.

Arguments are those of the operators in planes.py: contiguous tensors, planes level-major, two axes
per plane of a level, a row axis of -1 standing for the shared time.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator
from ctypes import c_double, c_int32, c_int64, c_void_p
from typing import NamedTuple

import torch
from native_kernels import members
from nvrtc_launch import Kernels
from torch import Tensor

from .program import THREADS, blocks_for, fields

MOST_PLANES = 48  # of one launch; kMostPlanes in csrc/cuda/plane_lookup.cuh
DERIVE_THREADS = 128  # kDeriveThreads in csrc/cuda/plane_lookup_grad.cuh
NODES_PER_BLOCK = 8  # of lookup_gather: a warp each
SCRATCH_BYTES = 256 * 2**20  # most that the gradients of samples may take; else points go in turns


class Plane(ctypes.Structure):
    """Mirrors `Plane` in csrc/cuda/plane_lookup.cuh."""

    _fields_ = members(
        values=c_void_p, grad=c_void_p, rows=c_int32, cols=c_int32, col_axis=c_int32,
        row_axis=c_int32, first_cell=c_int32, first_block=c_int32,
    )  # fmt: skip


class Field(ctypes.Structure):
    """Mirrors `Field` in csrc/cuda/plane_lookup.cuh."""

    _fields_ = members(planes=Plane * MOST_PLANES, levels=c_int32, first_level=c_int32)


class Line(ctypes.Structure):
    """Mirrors `Line` in csrc/cuda/plane_lookup.cuh."""

    _fields_ = members(
        plane=c_void_p, line=c_void_p, length=c_int32, rows=c_int32, frac=c_double, first=c_int32,
        second=c_int32, first_block=c_int32,
    )  # fmt: skip


class Lines(ctypes.Structure):
    """Mirrors `Lines` in csrc/cuda/plane_lookup.cuh."""

    _fields_ = members(lines=Line * MOST_PLANES, count=c_int32)


def lookup(
    planes: list[Tensor],
    points: Tensor,
    axes: list[int],
    time: float,
    kernels: Callable[..., Kernels],
) -> Tensor:
    """Features "N L*C"."""
    defines = fields(planes, len(axes) // 2, points.shape[1])
    run, n = kernels(**defines), len(points)
    features = points.new_empty(n, 2 * len(planes) // len(axes) * planes[0].shape[2])
    for first, some in _launches(planes, axes):
        sampled = _cut_lines(some, axes, time, run)
        field = _lay_out(sampled, sampled, axes, first).field
        grid = (blocks_for(n * defines["LANES"]), field.levels)
        run.launch("lookup_forward", grid, THREADS, field, points, c_int64(n),
                   c_int64(features.shape[1]), features)  # fmt: skip
    return features


def lookup_backward(
    grad: Tensor,
    planes: list[Tensor],
    points: Tensor,
    axes: list[int],
    time: float,
    kernels: Callable[..., Kernels],
) -> list[Tensor]:
    """Gradients of all planes, then of points, from that of the features "N L*C"."""
    defines = fields([*planes, grad], len(axes) // 2, points.shape[1])
    run = kernels(**defines)
    *grads, grad_points = [torch.empty_like(tensor) for tensor in (*planes, points)]
    for first, some in _launches(planes, axes):
        sampled = _cut_lines(some, axes, time, run)
        wanted = grads[first * len(axes) // 2 :][: len(some)]
        found = [
            whole if at is plane else torch.empty_like(at)
            for at, plane, whole in zip(sampled, some, wanted, strict=True)
        ]
        layout = _lay_out(sampled, found, axes, first)
        for turn in _turns(len(points), len(some) * planes[0][0, 0].nbytes):
            entries = _derive(layout, grad[turn], points[turn], grad_points[turn], defines, run)
            run.launch("lookup_gather", layout.blocks, THREADS, layout.field, *entries,
                       c_int32(turn.start > 0))  # fmt: skip
        _launch_lines("lookup_spread_lines", wanted, found, time, run)
    return [*grads, grad_points]


class _Layout(NamedTuple):
    """A field as its kernels see it, and what its planes add up to."""

    field: Field
    planes: int
    cells: int
    blocks: int  # of lookup_gather


def _derive(
    layout: _Layout,
    grad: Tensor,
    points: Tensor,
    grad_points: Tensor,
    defines: dict[str, object],
    run: Kernels,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Write the gradients of `points`; give what lookup_gather reads.

    Its entries are the (plane, point), sorted by the cell that the point falls in: their order,
    where each cell begins among them, fractions inside the cells, and gradients of the samples.
    """
    n, field = len(points), layout.field
    keys = points.new_empty(layout.planes * n, dtype=torch.int32)
    fractions = points.new_empty(layout.planes * n, 2)
    sample_grads = points.new_empty(layout.planes * n, defines["CHANNELS"])
    run.launch("lookup_place", (blocks_for(n), layout.planes), THREADS, field, points, c_int64(n),
               keys, fractions)  # fmt: skip
    run.launch("lookup_derive", blocks_for(n * defines["LANES"], DERIVE_THREADS), DERIVE_THREADS,
               field, points, c_int64(n), c_int64(grad.shape[1]), grad, sample_grads, grad_points,
               c_int32(field.first_level > 0))  # fmt: skip
    keys, order = torch.sort(keys, stable=True)
    cells = torch.arange(layout.cells + 1, dtype=torch.int32, device=keys.device)
    starts = torch.searchsorted(keys, cells, out_int32=True)
    return order, starts, fractions, sample_grads


def _turns(n: int, bytes_per_point: int) -> list[slice]:
    """Runs of points whose sample gradients fit in SCRATCH_BYTES; at least one, maybe empty."""
    size = max(SCRATCH_BYTES // bytes_per_point, 1)
    return [slice(first, min(first + size, n)) for first in range(0, max(n, 1), size)]


def _launches(planes: list[Tensor], axes: list[int]) -> Iterator[tuple[int, list[Tensor]]]:
    """First level and planes of as many levels as one launch takes."""
    per_level = len(axes) // 2
    levels = MOST_PLANES // per_level
    for first in range(0, len(planes) // per_level, levels):
        yield first, planes[first * per_level : (first + levels) * per_level]


def _lay_out(
    sampled: list[Tensor], grads: list[Tensor], axes: list[int], first_level: int
) -> _Layout:
    field, cells, blocks = Field(), 0, 0
    for k, (plane, grad) in enumerate(zip(sampled, grads, strict=True)):
        rows, cols, _ = plane.shape
        pair = 2 * k % len(axes)
        field.planes[k] = Plane(
            plane.data_ptr(), grad.data_ptr(), rows, cols, axes[pair], axes[pair + 1], cells, blocks
        )
        cells += max(rows - 1, 1) * max(cols - 1, 1)
        blocks += blocks_for(rows * cols, NODES_PER_BLOCK)
    if cells >= 2**31:
        raise ValueError(f"the planes of a field have {cells} cells; expected fewer than 2^31")
    field.levels, field.first_level = 2 * len(sampled) // len(axes), first_level
    return _Layout(field, len(sampled), cells, blocks)


def _cut_lines(planes: list[Tensor], axes: list[int], time: float, run: Kernels) -> list[Tensor]:
    """The planes as points meet them: a shared time leaves one row "1 cols C" of a time plane."""
    row_axes = axes[1::2] * (2 * len(planes) // len(axes))
    sampled = [
        plane if axis >= 0 else plane.new_empty(1, *plane.shape[1:])
        for plane, axis in zip(planes, row_axes, strict=True)
    ]
    _launch_lines("lookup_cut_lines", planes, sampled, time, run)
    return sampled


def _launch_lines(
    kernel: str, planes: list[Tensor], sampled: list[Tensor], time: float, run: Kernels
) -> None:
    """Run a kernel over the planes that `sampled` holds a line of, and these lines."""
    lines, blocks = Lines(), 0
    for plane, line in zip(planes, sampled, strict=True):
        if line is plane:
            continue
        lines.lines[lines.count] = Line(
            plane.data_ptr(), line.data_ptr(), line.numel(), len(plane),
            *_time_rows(time, len(plane)), blocks,
        )  # fmt: skip
        lines.count += 1
        blocks += blocks_for((line if kernel == "lookup_cut_lines" else plane).numel())
    run.launch(kernel, blocks, THREADS, lines)


def _time_rows(time: float, rows: int) -> tuple[float, int, int]:
    """Where a time in [-1, 1] falls: the fraction between two rows, and these."""
    at = (time + 1) * 0.5 * (rows - 1)
    if math.isnan(at):  # the fraction carries it into the features
        return at, 0, 0
    at = min(max(at, 0.0), rows - 1.0)
    first = max(min(int(at), rows - 2), 0)
    return at - first, first, min(first + 1, rows - 1)
