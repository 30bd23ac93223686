"""`.compressed.ply`: PlayCanvas's packed PLY, 16 bytes a Gaussian and a byte a harmonic.

Rows come in chunks of 256, whose ranges of place, log scale and colour are written as floats;
within them place and scale have 11, 10 and 11 bits, colours 8. Quaternions are the three smaller
components, 10 bits each.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.axes import Y_DOWN
from export.columns import (
    TINY,
    Columns,
    columns_of,
    gaussians_of,
    largest_of,
    morton_order,
    with_largest,
)
from scene.gaussian_model import Gaussians
from utils.files import read_bytes, reading, replacing
from utils.sh import C0

AXES, MOVES = Y_DOWN, False
CHUNK = 256  # rows
BITS = (11, 10, 11)
RANGES = [
    f"{end}_{name}"
    for names in (("x", "y", "z"), ("scale_x", "scale_y", "scale_z"), ("r", "g", "b"))
    for end in ("min", "max")
    for name in names
]
PACKED = ("position", "rotation", "scale", "color")
SH_RANGE = 8.0  # harmonics lie between its halves
MAX_LOG = 20.0  # of a scale, to either side
MAX_HEADER = 2**14  # bytes


def write_one(path: Path, gaussians: Gaussians, *, antialiased: bool = False) -> None:
    """Write Gaussians with harmonics."""
    columns = columns_of(gaussians)
    columns = columns.rows(morton_order(columns.means))
    logs = np.clip(np.log(columns.scales), -MAX_LOG, MAX_LOG)
    places, place_ends = _in_chunks(columns.means)
    sizes, size_ends = _in_chunks(logs)
    colors, color_ends = _in_chunks(columns.rgb)
    rgba = np.column_stack([colors, columns.opacities])
    vertices = np.column_stack(
        [_packed(places, BITS), _packed_quats(columns.quats), _packed(sizes, BITS),
         _packed(rgba, (8, 8, 8, 8))]
    ).astype("<u4")  # fmt: skip
    rest = columns.sh[:, 1:].transpose(0, 2, 1).reshape(len(columns), -1)
    rest = np.clip((rest / SH_RANGE + 0.5) * 256, 0, 255).astype(np.uint8)
    ends = np.column_stack([place_ends, size_ends, color_ends]).astype("<f4")
    with replacing(path) as part, part.open("wb") as file:
        file.write(_header(len(ends), len(vertices), rest.shape[1]).encode("ascii"))
        for block in (ends, vertices, rest):
            file.write(np.ascontiguousarray(block).tobytes())


def read_one(path: Path) -> Gaussians:
    """What `write_one` wrote; InputError names a file that is damaged or something else."""
    data = read_bytes(path)
    with reading(path, "a compressed PLY"):
        head, mark, _ = data[:MAX_HEADER].partition(b"end_header\n")
        counts = {}
        for line in head.decode("ascii").splitlines():
            match line.split():
                case ["element", name, count]:
                    counts[name] = int(count)
        n_rest = head.count(b"f_rest_")
        n, n_chunks = counts["vertex"], counts["chunk"]
        header = _header(n_chunks, n, n_rest).encode("ascii")
        sizes = [4 * len(RANGES) * n_chunks, 16 * n, n_rest * n]
        if not mark or head + mark != header or len(data) != len(header) + sum(sizes):
            raise ValueError("its elements are not those of a compressed PLY, or it is cut")
        if n_rest not in (0, 9, 24, 45) or n_chunks != -(-n // CHUNK):
            raise ValueError(f"{n_rest} harmonics or {n_chunks} chunks do not fit {n} rows")
        first, second = len(header) + sizes[0], len(header) + sizes[0] + sizes[1]
        ends = np.frombuffer(data[len(header) : first], "<f4").reshape(-1, 3, 2, 3)
        packed = np.frombuffer(data[first:second], "<u4").reshape(-1, 4)
        rest = np.frombuffer(data[second:], np.uint8).reshape(n, 3, -1).transpose(0, 2, 1)
        return gaussians_of(_unpacked(ends.repeat(CHUNK, 0)[:n], packed, rest))


def _unpacked(ends: NDArray, packed: NDArray, rest: NDArray) -> Columns:
    low, span = ends[:, :, 0], ends[:, :, 1] - ends[:, :, 0]
    rgba = _shares(packed[:, 3], (8, 8, 8, 8))
    parts = [_shares(packed[:, 0], BITS), _shares(packed[:, 2], BITS), rgba[:, :3]]
    means, logs, rgb = (low[:, k] + span[:, k] * part for k, part in enumerate(parts))
    others = (_shares(packed[:, 1], (2, 10, 10, 10))[:, 1:] - 0.5) * np.sqrt(2)
    n = (rest + 0.5) / 256
    n = np.where(rest == 0, 0, np.where(rest == 255, 1, n))
    sh = np.concatenate([((rgb - 0.5) / C0)[:, None], (n - 0.5) * SH_RANGE], axis=1)
    quats = with_largest(packed[:, 1] >> 30, others)
    return Columns(means, quats, np.exp(logs), rgba[:, 3], sh)


def _header(n_chunks: int, n: int, n_rest: int) -> str:
    lines = ["ply", "format binary_little_endian 1.0", f"element chunk {n_chunks}"]
    lines += [f"property float {name}" for name in RANGES]
    lines += [f"element vertex {n}", *(f"property uint packed_{name}" for name in PACKED)]
    if n_rest:
        lines += [f"element sh {n}", *(f"property uchar f_rest_{k}" for k in range(n_rest))]
    return "\n".join([*lines, "end_header", ""])


def _in_chunks(values: NDArray) -> tuple[NDArray, NDArray]:
    """(values (N, 3) as shares of their chunk's range, (M, 6) lowest and highest of each chunk)."""
    starts = np.arange(0, len(values), CHUNK)
    low = np.minimum.reduceat(values, starts).astype(np.float32)
    high = np.maximum.reduceat(values, starts).astype(np.float32)
    rows = np.arange(len(values)) // CHUNK
    span = np.maximum(high - low, TINY)
    return (values - low[rows]) / span[rows], np.column_stack([low, high])


def _packed(shares: NDArray, bits: tuple[int, ...]) -> NDArray:
    """(N,) uint32: each share in [0, 1] of its column's bits, the first column highest."""
    word = np.zeros(len(shares), np.uint32)
    for column, width in zip(shares.T, bits, strict=True):
        top = 2**width - 1
        level = np.clip(np.floor(column * top + 0.5), 0, top).astype(np.uint32)
        word = (word << np.uint32(width)) | level
    return word


def _packed_quats(quats: NDArray) -> NDArray:
    largest, others = largest_of(quats)
    word = _packed(others / np.sqrt(2) + 0.5, (10, 10, 10))
    return (largest.astype(np.uint32) << np.uint32(30)) | word


def _shares(word: NDArray, bits: tuple[int, ...]) -> NDArray:
    """(N, len(bits)) the inverse of `_packed`."""
    columns, at = [], 32
    for width in bits:
        at -= width
        columns.append(((word >> np.uint32(at)) & np.uint32(2**width - 1)) / (2**width - 1))
    return np.stack(columns, axis=1)
