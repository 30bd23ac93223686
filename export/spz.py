"""`.spz`: Niantic's packed Gaussians, version 3: one gzip stream of planes, 65 bytes at degree 3.

Places are fixed-point numbers of 24 bits; all else has a byte, quaternions ten bits for each of
the three smaller components. y up, z towards the viewer.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.axes import Y_UP
from export.columns import (
    Columns,
    columns_of,
    gaussians_of,
    largest_of,
    morton_order,
    with_largest,
)
from scene.gaussian_model import Gaussians
from utils.errors import InputError
from utils.files import read_bytes, reading, replacing

AXES, MOVES = Y_UP, False
MAGIC, VERSION = 0x5053474E, 3
HEADER = struct.Struct("<IIIBBBB")
BITS = 12  # behind the point, at most
MAX_LEVEL = 2**23 - 1
ANTIALIASED = 1
MAX_ROWS = 10_000_000
COLOR = 0.15  # a degree-0 coefficient of one is so much of a byte's range


def write_one(path: Path, gaussians: Gaussians, *, antialiased: bool = False) -> None:
    """Write Gaussians with harmonics; InputError for more or farther ones than the format has."""
    head, planes = packed(path, gaussians, VERSION, antialiased=antialiased)
    with replacing(path) as part:
        part.write_bytes(gzip.compress(HEADER.pack(*head, 0) + b"".join(planes), mtime=0))


def packed(
    path: Path, gaussians: Gaussians, version: int, *, antialiased: bool
) -> tuple[tuple[int, ...], list[bytes]]:
    """The fields that every version's header begins with, and the six planes; InputError as
    `write_one`."""
    columns = columns_of(gaussians)
    columns = columns.rows(morton_order(columns.means))
    n, reach = len(columns), float(np.abs(columns.means).max(initial=0))
    bits = next((b for b in range(BITS, -1, -1) if reach * 2**b < MAX_LEVEL), None)
    if bits is None or n > MAX_ROWS:
        raise InputError(
            f"{path}: {n:,} Gaussians up to {reach:g} units from the origin are more than .spz "
            "holds; choose .ply or .glb"
        )
    flags = ANTIALIASED if antialiased else 0
    levels = np.round(columns.means.astype(np.float64) * 2**bits).astype("<i4")
    planes = [
        levels.reshape(-1, 1).view(np.uint8).reshape(n, 3, 4)[:, :, :3],
        _byte(255 * columns.opacities),
        _byte(255 * (COLOR * columns.sh[:, 0] + 0.5)),
        _byte(16 * (np.log(columns.scales) + 10)),
        _packed_quats(columns.quats).astype("<u4"),
        _sh_bytes(columns.sh[:, 1:]),
    ]
    head = (MAGIC, version, n, columns.degree, bits, flags)
    return head, [np.ascontiguousarray(plane).tobytes() for plane in planes]


def read_one(path: Path) -> Gaussians:
    """What `write_one` wrote; InputError names a file that is damaged or of another version."""
    data = read_bytes(path)
    with reading(path, "an SPZ file of version 3"):
        stream = zlib.decompressobj(wbits=31)
        head = stream.decompress(data, HEADER.size)
        n, bits, widths = layout(HEADER.unpack(head), VERSION)
        body = stream.decompress(stream.unconsumed_tail, n * sum(widths) + 1)
        if len(body) != n * sum(widths):
            raise ValueError(f"it holds {len(body):,} bytes, expected {n * sum(widths):,}")
        planes, at = [], 0
        for width in widths:
            plane = np.frombuffer(body, np.uint8, n * width, at).reshape(n, width)
            planes.append(plane)
            at += n * width
        return gaussians_of(unpacked(planes, bits))


def layout(head: Sequence[int], wanted: int) -> tuple[int, int, list[int]]:
    """Of a header: rows, bits behind the point, bytes of a row in each plane; ValueError where it
    is another version's or no SPZ file's."""
    magic, version, n, degree, bits = head[:5]
    if (magic, version) != (MAGIC, wanted) or degree > 3 or bits > 23 or n > MAX_ROWS:
        raise ValueError(f"magic {magic:08x}, version {version}, degree {degree}, {n} rows")
    return n, bits, [9, 1, 3, 3, 4, 3 * ((degree + 1) ** 2 - 1)]


def unpacked(planes: list[NDArray], bits: int) -> Columns:
    places, alphas, colors, sizes, turns, rest = planes
    words = np.zeros((len(places), 3, 4), np.uint8)
    words[:, :, 1:] = places.reshape(-1, 3, 3)  # in the upper bytes, so that the sign is right
    means = (words.view("<i4")[..., 0] >> 8) / 2.0**bits
    dc = (colors / 255.0 - 0.5) / COLOR
    sh = np.concatenate([dc[:, None], (rest.reshape(len(rest), -1, 3) - 128.0) / 128], axis=1)
    quats = _unpacked_quats(np.ascontiguousarray(turns).view("<u4")[:, 0])
    return Columns(means, quats, np.exp(sizes / 16.0 - 10), alphas[:, 0] / 255.0, sh)


def _packed_quats(quats: NDArray) -> NDArray:
    """(N,) two bits: which of x, y, z, w is largest; then sign and nine bits of each other one."""
    largest, others = largest_of(quats[:, [1, 2, 3, 0]])
    word = largest.astype(np.uint32)
    for column in others.T:
        level = np.minimum(np.floor(511 * np.sqrt(2) * np.abs(column) + 0.5), 511)
        word = (word << np.uint32(1)) | (column < 0).astype(np.uint32)
        word = (word << np.uint32(9)) | level.astype(np.uint32)
    return word


def _unpacked_quats(word: NDArray) -> NDArray:
    fields = [(word >> np.uint32(at)) & np.uint32(1023) for at in (20, 10, 0)]
    others = [np.where(f >> 9, -1, 1) * (f & 511) / (511 * np.sqrt(2)) for f in fields]
    return with_largest(word >> np.uint32(30), np.stack(others, axis=1))[:, [3, 0, 1, 2]]


def _sh_bytes(rest: NDArray) -> NDArray:
    """(N, K, 3) bytes: five bits of the first band, four of the others, as bucket centres."""
    bucket = np.where(np.arange(rest.shape[1]) < 3, 8, 16)[:, None]
    levels = np.round(rest * 128).astype(np.int32) + 128
    return np.clip((levels + bucket // 2) // bucket * bucket, 0, 255).astype(np.uint8)


def _byte(values: NDArray) -> NDArray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)
