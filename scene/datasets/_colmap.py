"""COLMAP's sparse models, binary and text: cameras with lenses, posed images, coloured points.

Layouts: COLMAP's documentation, "Output Format". Numbers are little endian.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from utils.errors import InputError
from utils.files import read_bytes, reading

# Model number -> name and what its parameters are, in order; "f" is both focal lengths.
MODELS = {
    0: ("SIMPLE_PINHOLE", "f cx cy"),
    1: ("PINHOLE", "fx fy cx cy"),
    2: ("SIMPLE_RADIAL", "f cx cy k1"),
    3: ("RADIAL", "f cx cy k1 k2"),
    4: ("OPENCV", "fx fy cx cy k1 k2 p1 p2"),
}
SUFFIXES = (".bin", ".txt")  # the binary file goes before the text
BY_NAME = {name: number for number, (name, _) in MODELS.items()}


@dataclass(frozen=True)
class View:
    """A camera of COLMAP at the size it was calibrated for."""

    width: int
    height: int
    K: tuple[float, float, float, float]  # fx fy cx cy, pixels, centres at .5
    coefficients: tuple[float, float, float, float, float]  # OpenCV's k1 k2 p1 p2 k3


@dataclass(frozen=True)
class Shot:
    """A posed image."""

    name: str
    camera: int
    quat: tuple[float, float, float, float]  # w x y z, world to camera, OpenCV axes
    translation: tuple[float, float, float]


def model_file(folder: Path, stem: str) -> Path:
    """`stem`.bin, or .txt where there is no such file; InputError where there is neither."""
    for suffix in SUFFIXES:
        if (folder / (stem + suffix)).is_file():
            return folder / (stem + suffix)
    raise InputError(
        f"{folder / stem}.bin: neither this file nor {stem}.txt is there; export the sparse model"
    )


def read_views(file: Path) -> dict[int, View]:
    """The cameras by number."""
    return dict(_views_text(file) if file.suffix == ".txt" else _views_binary(file))


def read_shots(file: Path) -> list[Shot]:
    """The posed images in the order of the file."""
    return list(_shots_text(file) if file.suffix == ".txt" else _shots_binary(file))


def read_cloud(file: Path) -> tuple[Tensor, Tensor]:
    """The points (P, 3), float64, and their colours (P, 3) in [0, 1]."""
    rows = _points_text(file) if file.suffix == ".txt" else _points_binary(file)
    values = torch.from_numpy(np.array(list(rows), dtype=np.float64).reshape(-1, 6))
    return values[:, :3], values[:, 3:].float() / 255


class Bytes:
    """A binary file read from front to back."""

    def __init__(self, file: Path) -> None:
        self.file, self.at, self.data = file, 0, read_bytes(file)

    def take(self, form: str) -> tuple:
        form = f"<{form}"
        try:
            values = struct.unpack_from(form, self.data, self.at)
        except struct.error:
            raise self.cut() from None
        self.at += struct.calcsize(form)
        return values

    def count(self) -> int:
        (count,) = self.take("Q")
        if count > len(self.data):  # nothing in these files takes less than a byte
            raise self.cut()
        return count

    def skip(self, size: int) -> None:
        self.at += size
        if self.at > len(self.data):
            raise self.cut()

    def text(self) -> str:
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise self.cut()
        start, self.at = self.at, end + 1
        return self.data[start:end].decode("utf-8", errors="replace")

    def cut(self) -> InputError:
        return InputError(
            f"{self.file}: it ends in the middle or is damaged; export the sparse model again"
        )


def _view(
    file: Path, number: int, model: int, width: int, height: int, values: tuple[float, ...]
) -> View:
    if not (1 <= width < 1e6 and 1 <= height < 1e6) or not all(map(math.isfinite, values)):
        raise InputError(
            f"{file}: camera {number} is damaged: {width}x{height}, {values}; export it again"
        )
    named = dict(zip(MODELS[model][1].split(), values, strict=True))
    fx, fy = named.get("fx", named.get("f")), named.get("fy", named.get("f"))
    k1, k2, p1, p2 = (named.get(key, 0.0) for key in ("k1", "k2", "p1", "p2"))
    return View(width, height, (fx, fy, named["cx"], named["cy"]), (k1, k2, p1, p2, 0.0))


def _refused(file: Path, number: int, model: object) -> InputError:
    known = ", ".join(BY_NAME)
    return InputError(
        f"{file}: camera {number} has the model {model}; known are {known}; run colmap "
        "image_undistorter"
    )


def _views_binary(file: Path) -> Iterator[tuple[int, View]]:
    data = Bytes(file)
    for _ in range(data.count()):
        number, model, width, height = data.take("iiQQ")
        if model not in MODELS:
            raise _refused(file, number, model)
        values = data.take(f"{len(MODELS[model][1].split())}d")
        yield number, _view(file, number, model, width, height, values)


def _views_text(file: Path) -> Iterator[tuple[int, View]]:
    for line in _lines(file):
        number, name, width, height, *values = line.words("camera", 4)
        if name not in BY_NAME:
            raise _refused(file, number, name)
        if len(values) != len(MODELS[BY_NAME[name]][1].split()):
            raise line.wrong(f"a {name} has the parameters {MODELS[BY_NAME[name]][1]}")
        size = line.integers(number, width, height)
        yield size[0], _view(file, size[0], BY_NAME[name], *size[1:], tuple(line.floats(*values)))


def _shots_binary(file: Path) -> Iterator[Shot]:
    data = Bytes(file)
    for _ in range(data.count()):
        _, *pose, camera = data.take("i7di")
        name = data.text()
        data.skip(24 * data.count())  # x, y and the point of every feature
        yield Shot(name, camera, tuple(pose[:4]), tuple(pose[4:]))


def _shots_text(file: Path) -> Iterator[Shot]:
    # Every second line lists features, and is empty where there are none.
    for line in list(_lines(file, empty=True))[::2]:
        _, *pose, camera, name = line.words("image", 10, last=9)
        values = line.floats(*pose)
        yield Shot(name, line.integers(camera)[0], tuple(values[:4]), tuple(values[4:]))


def _points_binary(file: Path) -> Iterator[tuple[float, ...]]:
    data = Bytes(file)
    for _ in range(data.count()):
        _, *values, _ = data.take("Q3d3Bd")
        data.skip(8 * data.count())  # image and feature of every sighting
        yield tuple(values)


def _points_text(file: Path) -> Iterator[tuple[float, ...]]:
    for line in _lines(file):
        yield tuple(line.floats(*line.words("point", 8)[1:7]))


@dataclass(frozen=True)
class Line:
    """A line of a text file, with its place for messages."""

    file: Path
    number: int
    text: str

    def words(self, what: str, least: int, last: int = -1) -> list[str]:
        """Its words, the one at `last` with all that follows it (names may hold spaces)."""
        words = self.text.split(maxsplit=last)
        if len(words) < least:
            raise self.wrong(f"it ends too early for a {what}")
        return words

    def floats(self, *words: str) -> list[float]:
        try:
            return [float(word) for word in words]
        except ValueError:
            raise self.wrong("expected numbers") from None

    def integers(self, *words: str) -> list[int]:
        try:
            return [int(word) for word in words]
        except ValueError:
            raise self.wrong("expected whole numbers") from None

    def wrong(self, what: str) -> InputError:
        return InputError(
            f"{self.file}: line {self.number} is {self.text[:60]!r}: {what}; export the sparse "
            "model again"
        )


def _lines(file: Path, *, empty: bool = False) -> Iterator[Line]:
    """The lines that are no comments; those without words only where `empty`."""
    with reading(file, "text", "export the sparse model again"):
        content = read_bytes(file).decode()
    for number, text in enumerate(content.splitlines(), 1):
        if not text.startswith("#") and (empty or text.split()):
            yield Line(file, number, text)
