"""Vertices of PLY files as named columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from utils.errors import InputError
from utils.files import reading, regular, replacing
from utils.sh import C0

MAX_HEADER = 2**16  # bytes; 3DGS files have 62 properties
MAX_ROW = 2**16  # bytes of a row that is written as text
SLACK = 0.01  # by which interpolated colours may leave their range
ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2",
    "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8",
}  # fmt: skip
COLORS = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), tuple("rgb"))
F_DC = ("f_dc_0", "f_dc_1", "f_dc_2")  # what 3DGS writes: degree 0 of spherical harmonics


@dataclass(frozen=True)
class Element:
    """An element of the header: its rows and the type of each, None where rows hold lists."""

    name: str
    count: int
    row: np.dtype | None


def read_vertices(path: Path) -> NDArray:
    """The file's vertices, a structured array (N,) with a field a property.

    What follows them is not read. InputError names a file that is damaged, or is something else.
    """
    size = regular(path)
    with (
        reading(path, "a PLY file with vertices", "write or copy it again"),
        path.open("rb") as file,
    ):
        order, elements = _header(file)
        for element in elements:
            if element.row is None:
                raise ValueError(f"the rows of {element.name!r} hold lists")
            if not 0 <= element.count * (element.row.itemsize if order != "=" else 1) <= size:
                raise ValueError(f"it has no room for {element.count:,} rows of {element.name!r}")
            rows = _text_rows(file, element) if order == "=" else _rows(file, element)
            if element.name == "vertex":
                return rows
        raise ValueError("there is no element 'vertex'")


def vertex_columns(path: Path, vertex: NDArray, names: Sequence[str]) -> Tensor:
    """(N, len(names)) float32; InputError where a property is missing."""
    missing = [name for name in names if name not in vertex.dtype.names]
    if missing:
        raise InputError(
            f"{path}: the vertices lack {', '.join(missing)}; expected a PLY that has them"
        )
    if not names:
        return torch.zeros(len(vertex), 0)
    return torch.from_numpy(np.stack([vertex[name] for name in names], axis=1).astype(np.float32))


def read_points(path: Path) -> tuple[Tensor, Tensor | None]:
    """A point cloud: x, y, z (P, 3), and colours (P, 3) in [0, 1], None where it has none.

    Whole numbers are levels of their type; floats are levels of 255 where one is above 1. The file
    of a trained 3DGS gives its Gaussians' mean colours.
    """
    vertex = read_vertices(path)
    return vertex_columns(path, vertex, ["x", "y", "z"]), _colors(path, vertex)


def _colors(path: Path, vertex: NDArray) -> Tensor | None:
    there = vertex.dtype.names
    names = next((names for names in (*COLORS, F_DC) if set(names) <= set(there)), None)
    if names is None:
        return None
    rgb = vertex_columns(path, vertex, names)
    if names == F_DC:
        return (rgb * C0 + 0.5).clamp(0, 1)
    kind, size = vertex.dtype[names[0]].kind, vertex.dtype[names[0]].itemsize
    low, high = (float(rgb.min()), float(rgb.max())) if len(rgb) else (0.0, 0.0)
    full = 65_535 if kind == "u" and size == 2 else 255
    full = 1 if kind == "f" and high <= 1 + SLACK else full
    if not (low >= -SLACK * full and high <= (1 + SLACK) * full):
        raise InputError(
            f"{path}: its colours are from {low:g} to {high:g}, expected 0 to {full}; "
            "write them again"
        )
    return (rgb / full).clamp(0, 1)


def _header(file: BinaryIO) -> tuple[str, list[Element]]:
    """The byte order, "=" for text, and the elements; `file` is left where their rows begin."""
    start = file.read(MAX_HEADER)
    head, mark, rest = start.partition(b"end_header")
    if not start.startswith(b"ply") or not mark:
        raise ValueError(f"no header of a PLY file in its first {MAX_HEADER:,} bytes")
    file.seek(len(head) + len(mark) + len(rest) - len(rest.removeprefix(b"\r").removeprefix(b"\n")))
    order, elements = "", []
    for line in head.decode("ascii", errors="replace").splitlines()[1:]:
        words = line.split()
        match words:
            case ["format", form, _]:
                order = ORDERS[form]
            case ["element", name, count]:
                elements.append((name, int(count), []))
            case ["property", *words]:
                elements[-1][2].append(words)
    return order, [Element(name, count, _row(order, words)) for name, count, words in elements]


def _row(order: str, properties: list[list[str]]) -> np.dtype | None:
    if any(words[0] == "list" for words in properties):
        return None
    return np.dtype([(name, order + TYPES[kind]) for kind, name in properties])


def _rows(file: BinaryIO, element: Element) -> NDArray:
    rows = np.fromfile(file, element.row, element.count)
    if len(rows) < element.count:
        raise ValueError(f"it ends after {len(rows):,} of {element.count:,} rows")
    return rows


def _text_rows(file: BinaryIO, element: Element) -> NDArray:
    if not element.count:
        return np.zeros(0, element.row)
    values = np.loadtxt(_lines(file, element.count), comments=None, ndmin=2)
    if values.shape != (element.count, len(element.row.names)):
        found = " x ".join(map(str, values.shape))
        raise ValueError(f"{found} numbers, expected {element.count} x {len(element.row.names)}")
    rows = np.zeros(element.count, element.row)
    with np.errstate(invalid="raise"):  # a number beyond its type
        for name, column in zip(element.row.names, values.T, strict=True):
            rows[name] = column
    return rows


def _lines(file: BinaryIO, count: int) -> Iterator[bytes]:
    for k in range(count):
        line = file.readline(MAX_ROW + 1)
        if not line.strip() or len(line) > MAX_ROW:
            found = f"is longer than {MAX_ROW:,} bytes" if line.strip() else "is missing or empty"
            raise ValueError(f"row {k + 1:,} of {count:,} {found}")
        yield line


def write_points(path: Path, xyz: NDArray) -> None:
    """Write points (P, 3) as float32, or as doubles where they are such; binary little endian."""
    kind = "double" if xyz.dtype == np.float64 else "float"
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(xyz)}"]
    lines += [f"property {kind} {axis}" for axis in "xyz"] + ["end_header", ""]
    with replacing(path) as temporary:
        temporary.write_bytes("\n".join(lines).encode() + xyz.astype(f"<{TYPES[kind]}").tobytes())
