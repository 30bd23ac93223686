"""`.v4.spz`: Niantic's packed Gaussians, version 4: the planes of version 3, each a zstd frame of
its own, behind a plain header and a table of their lengths. Not every reader of 3 knows it."""

from __future__ import annotations

import struct
from pathlib import Path
from types import ModuleType

import numpy as np

from export import spz
from export.columns import gaussians_of
from scene.gaussian_model import Gaussians
from utils.errors import InputError
from utils.files import read_bytes, reading, replacing

AXES, MOVES = spz.AXES, spz.MOVES
VERSION = 4
HEADER = struct.Struct("<IIIBBBBI12x")  # as in version 3; number of planes, where their table is
LENGTHS = struct.Struct("<QQ")  # bytes of a plane, packed and plain


def write_one(path: Path, gaussians: Gaussians, *, antialiased: bool = False) -> None:
    """Write Gaussians with harmonics; InputError for more or farther ones than the format has."""
    zstandard = _library()
    head, planes = spz.packed(path, gaussians, VERSION, antialiased=antialiased)
    planes = [plane for plane in planes if plane]  # without harmonics there is one less
    frames = [zstandard.ZstdCompressor(level=19).compress(plane) for plane in planes]
    table = [LENGTHS.pack(len(f), len(p)) for f, p in zip(frames, planes, strict=True)]
    start = HEADER.pack(*head, len(planes), HEADER.size)
    with replacing(path) as part:
        part.write_bytes(start + b"".join(table) + b"".join(frames))


def read_one(path: Path) -> Gaussians:
    """What `write_one` wrote; InputError names a file that is damaged or of another version."""
    zstandard, data = _library(), read_bytes(path)
    with reading(path, "an SPZ file of version 4"):
        *head, count, at = HEADER.unpack_from(data)
        n, bits, widths = spz.layout(head, VERSION)
        sizes = [n * width for width in widths if n * width]
        if count != len(sizes):
            raise ValueError(f"{count} planes, expected {len(sizes)}")
        table = [LENGTHS.unpack_from(data, at + k * LENGTHS.size) for k in range(count)]
        at += count * LENGTHS.size
        planes = [np.zeros((n, width), np.uint8) for width in widths]
        wanted = (k for k, width in enumerate(widths) if n * width)
        for k, size, (length, plain) in zip(wanted, sizes, table, strict=True):
            frame = data[at : at + length]
            try:
                if plain != size or zstandard.frame_content_size(frame) != size:
                    raise ValueError(f"a plane of {plain:,} bytes, expected {size:,}")
                found = zstandard.ZstdDecompressor().decompress(frame)
            except zstandard.ZstdError as error:
                raise ValueError(str(error)) from None
            planes[k] = np.frombuffer(found, np.uint8).reshape(n, widths[k])
            at += length
        return gaussians_of(spz.unpacked(planes, bits))


def _library() -> ModuleType:
    try:
        import zstandard  # here: only those who write such files need it
    except ImportError:
        raise InputError(
            ".v4.spz needs zstandard: pip install -r requirements-viewer.txt; "
            "version 3, .spz, does not"
        ) from None
    return zstandard
