"""PLY files: Gaussians in the usual 3DGS columns, and plain coloured points."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from plyfile import PlyData, PlyElement, PlyParseError
from torch import Tensor

from scene.frames import PointCloud
from utils.errors import InputError
from utils.files import replacing


def write_gaussians(path: Path, columns: Mapping[str, Tensor]) -> None:
    """Write raw table columns as a 3DGS PLY: 62 floats a row at SH degree 3, little endian.

    f_rest is channel-major (all coefficients of red, then green, then blue); nx, ny, nz are zero.
    """
    n = len(columns["means"])
    blocks = {
        "x y z": columns["means"],
        "nx ny nz": torch.zeros(n, 3),
        "f_dc_": columns["sh_dc"].transpose(1, 2),
        "f_rest_": columns["sh_rest"].transpose(1, 2),
        "opacity": columns["opacity_logits"],
        "scale_": columns["log_scales"],
        "rot_": columns["quats"],
    }
    flat = {name: block.detach().cpu().float().reshape(n, -1) for name, block in blocks.items()}
    names = [name for key, block in flat.items() for name in _property_names(key, block.shape[1])]
    values = torch.cat(list(flat.values()), dim=1).numpy()
    rows = values.astype("<f4").view([(name, "<f4") for name in names])[:, 0]
    with replacing(path) as part:
        PlyData([PlyElement.describe(rows, "vertex")], byte_order="<").write(str(part))


def read_gaussians(path: Path, sh_degree: int) -> dict[str, Tensor]:
    """The columns that `write_gaussians` wrote; raises InputError for another SH degree or layout."""
    vertex = _read_vertices(path)
    names = set(vertex.data.dtype.names)
    n_rest = 3 * ((sh_degree + 1) ** 2 - 1)
    found = sum(name.startswith("f_rest_") for name in names)
    if found != n_rest:
        degree = round((found / 3 + 1) ** 0.5 - 1, 2)
        raise InputError(
            f"{path}: it has {found} f_rest columns (SH degree {degree:g}), expected {n_rest} "
            f"(degree {sh_degree}); set sh_degree={degree:g} or give another file"
        )
    wanted = {"x y z": 3, "f_dc_": 3, "f_rest_": n_rest, "opacity": 1, "scale_": 3, "rot_": 4}
    blocks = {key: _columns(path, vertex, _property_names(key, size)) for key, size in wanted.items()}
    n = len(vertex.data)
    return {
        "means": blocks["x y z"],
        "quats": blocks["rot_"],
        "log_scales": blocks["scale_"],
        "opacity_logits": blocks["opacity"],
        "sh_dc": blocks["f_dc_"].reshape(n, 3, 1).transpose(1, 2).contiguous(),
        "sh_rest": blocks["f_rest_"].reshape(n, 3, -1).transpose(1, 2).contiguous(),
    }


def read_points(path: Path) -> PointCloud:
    """A coloured point cloud: x, y, z and red, green, blue (0 to 255)."""
    vertex = _read_vertices(path)
    xyz = _columns(path, vertex, ["x", "y", "z"])
    rgb = _columns(path, vertex, ["red", "green", "blue"]) / 255
    return PointCloud(xyz, rgb)


def _property_names(key: str, size: int) -> list[str]:
    if key.endswith("_"):
        return [f"{key}{k}" for k in range(size)]
    return key.split()


def _read_vertices(path: Path) -> PlyElement:
    try:
        return PlyData.read(str(path))["vertex"]
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (PlyParseError, KeyError, ValueError, OverflowError, MemoryError) as error:
        raise InputError(f"{path}: not a readable PLY with vertices ({error}); write or copy it again") from None


def _columns(path: Path, vertex: PlyElement, names: list[str]) -> Tensor:
    missing = [name for name in names if name not in vertex.data.dtype.names]
    if missing:
        raise InputError(f"{path}: the vertices lack {', '.join(missing)}; expected a PLY that has them")
    if not names:
        return torch.zeros(len(vertex.data), 0)
    return torch.from_numpy(np.stack([vertex[name] for name in names], axis=1).astype(np.float32))
