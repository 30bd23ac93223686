"""Picture files before they are decoded: their kind, their size, and whether they are whole.

PNG and JPEG alone; what the header says is checked before the decoder allocates.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import cv2
import numpy as np

from utils.errors import InputError
from utils.files import reading, regular

PNG_HEADER_BYTES = 24  # to the end of width and height
HEADER_BYTES = 2**20  # enough for the frame header of a JPEG behind thumbnails and colour profiles
PNG_START, JPEG_START = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
MAX_PIXELS = 200_000_000  # of a picture; while it is read each takes up to 21 bytes
MAX_FILE = 2**31  # bytes
MAX_CHUNKS = 300_000  # of a PNG
# What libjpeg says of scans it cannot follow. Cameras leave some bytes before the end mark (D9).
JPEG_DAMAGE = re.compile(
    rb"(Corrupt JPEG data|Premature end|Inconsistent progression)(?!: \d extraneous.*0xd9).*"
)
HEARING = Lock()  # who decodes a JPEG reads what the process says meanwhile


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of a PNG or JPEG file from its header alone.

    Raises InputError where it is missing, of another kind, or larger than is ever decoded.
    """
    with _opened(path) as file:
        start = file.read(PNG_HEADER_BYTES)
        if not start.startswith(PNG_START):
            start += file.read(HEADER_BYTES)
        return _header_size(path, start)


def whole_picture(path: Path) -> bytes:
    """The bytes of a file that reaches its end mark; otherwise InputError, as of `image_size`."""
    with _opened(path) as file:
        # No more than there is: a buffer that is too large costs more than the rest of this.
        data = file.read(min(HEADER_BYTES, os.fstat(file.fileno()).st_size))
        _header_size(path, data)  # before a large file of another kind is read
        data += file.read()
    if not _is_whole(data):
        raise InputError(f"{path}: the picture is damaged or cut short; copy or write it again")
    return data


def decode(data: bytes) -> np.ndarray:
    """What OpenCV makes of a whole picture; ValueError where it is damaged within."""
    return _decode_jpeg(data) if data.startswith(JPEG_START) else _pixels(data)


def _pixels(data: bytes) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("the decoder gives nothing")
    return pixels


def _decode_jpeg(data: bytes) -> np.ndarray:
    """Raise ValueError for damage that libjpeg tells nobody but the process's stderr."""
    with HEARING:
        pixels, said = _decode_and_hear(data)
    damage = JPEG_DAMAGE.search(said)
    if damage:
        raise ValueError(f"the picture is damaged: {damage[0].decode(errors='replace')}")
    if said:  # another thread's
        os.write(2, said)
    return pixels


def _decode_and_hear(data: bytes) -> tuple[np.ndarray, bytes]:
    """The picture, and what was said on stderr meanwhile."""
    heard, told = os.pipe()
    # A full pipe loses words, and an empty one is no reason to wait: a program that another thread
    # started meanwhile may hold its other end.
    for end in (told, heard):
        os.set_blocking(end, False)
    try:
        stderr = os.dup(2)
    except OSError:  # closed: nobody hears it
        stderr = told
    os.dup2(told, 2)
    try:
        pixels = _pixels(data)
    finally:
        os.dup2(stderr, 2)
        for descriptor in {stderr, told}:
            os.close(descriptor)
        with open(heard, "rb") as pipe:
            said = b"" if stderr == told else pipe.read() or b""
    return pixels, said


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if not os.path.exists(path):
        raise InputError(f"{path}: no such picture; put it there or correct the path")
    regular(path, MAX_FILE, remedy="a PNG or JPEG file is needed")
    with reading(path, "a picture", "check permissions"), path.open("rb") as file:
        yield file


def _header_size(path: Path, data: bytes) -> tuple[int, int]:
    """Width and height as the header says."""
    size = None
    if data.startswith(PNG_START) and len(data) >= PNG_HEADER_BYTES:
        size = struct.unpack(">II", data[16:24])
    elif data.startswith(JPEG_START):
        size = _jpeg_size(data)
    if size is None or 0 in size:
        raise InputError(
            f"{path}: not a whole PNG or JPEG file (it starts with the bytes "
            f"'{data[:8].hex(' ')}'); convert it or write it again"
        )
    if size[0] * size[1] > MAX_PIXELS:
        raise InputError(
            f"{path}: the picture has {size[0]}x{size[1]} pixels, expected at most "
            f"{MAX_PIXELS:,}; shrink it"
        )
    return size


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and place of each segment, to that of the first scan (ITU T.81 B.1.1.4)."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        if data[at + 1] != 0xFF:  # a marker may be padded with FF bytes
            yield data[at + 1], at
            at += 1 + int.from_bytes(data[at + 2 : at + 4], "big")
        at += 1


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height from the frame header, SOF0 to SOF15 (ITU T.81 B.2.2)."""
    for marker, at in _jpeg_segments(data):
        # C4, C8 and CC lie between the frame headers but are tables.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
    return None


def _is_whole(data: bytes) -> bool:
    """Whether the file reaches its end mark; OpenCV would fill the missing part with one colour.

    What cameras add behind it, such as a video, counts for nothing.
    """
    if data.startswith(JPEG_START):
        scan = next((at for marker, at in _jpeg_segments(data) if marker == 0xDA), len(data))
        # Nowhere in a scan but at its end; a cut one with a video behind it libjpeg notices.
        return data.rfind(b"\xff\xd9") >= scan
    at = len(PNG_START)
    for _ in range(MAX_CHUNKS):
        length, kind = struct.unpack(">I4s", data[at : at + 8].ljust(8))
        check = data[at + 8 + length : at + 12 + length]
        if check != zlib.crc32(data[at + 4 : at + 8 + length]).to_bytes(4, "big"):
            return False
        if kind == b"IEND":
            return True
        at += 12 + length
    return False
