"""Vertices of PLY files as named columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from plyfile import PlyData, PlyElement, PlyParseError
from torch import Tensor

from utils.errors import InputError


def read_vertices(path: Path) -> PlyElement:
    """The file's vertices; InputError names what cannot be read."""
    try:
        return PlyData.read(str(path))["vertex"]
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (PlyParseError, KeyError, ValueError, OverflowError, MemoryError) as error:
        raise InputError(
            f"{path}: not a readable PLY with vertices ({error}); write or copy it again"
        ) from None


def vertex_columns(path: Path, vertex: PlyElement, names: Sequence[str]) -> Tensor:
    """(N, len(names)) float32; InputError where a property is missing."""
    missing = [name for name in names if name not in vertex.data.dtype.names]
    if missing:
        raise InputError(
            f"{path}: the vertices lack {', '.join(missing)}; expected a PLY that has them"
        )
    if not names:
        return torch.zeros(len(vertex.data), 0)
    return torch.from_numpy(np.stack([vertex[name] for name in names], axis=1).astype(np.float32))


def read_points(path: Path) -> tuple[Tensor, Tensor]:
    """A coloured point cloud: x, y, z (P, 3), and red, green, blue (P, 3) of 0 to 255 as [0, 1]."""
    vertex = read_vertices(path)
    rgb = vertex_columns(path, vertex, ["red", "green", "blue"]) / 255
    return vertex_columns(path, vertex, ["x", "y", "z"]), rgb
