"""PLY files in the usual 3DGS columns, which every viewer of Gaussians opens."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from plyfile import PlyData, PlyElement
from torch import Tensor

from export.axes import Y_DOWN
from scene.gaussian_model import Gaussians, activate
from scene.world import AS_IT_IS, World
from utils.errors import InputError
from utils.files import replacing
from utils.ply import read_vertices, vertex_columns

if TYPE_CHECKING:
    from scene.facts import SceneFacts

AXES, MOVES = Y_DOWN, False
EDGE = 2.0**-24  # from 0 and from 1, whose logits are infinite; 1 - EDGE is float32's last below 1
ANTIALIASED = "SplatRenderMode: mip"  # the comment that Brush and splat-transform read


def write(
    path: Path,
    frames: Iterable[Gaussians],
    facts: SceneFacts | None = None,
    *,
    antialiased: bool = False,
) -> None:
    """Write posed Gaussians: the first frame to `path`, further ones beside it as `name_00001.ply`.

    62 floats a row at SH degree 3, little endian; f_rest is channel-major (all coefficients of red,
    then green, then blue); nx, ny, nz are zero. Axes and units are the dataset's own, as `facts`
    says; places far from its origin are doubles. antialiased: how the Gaussians were trained, which
    viewers read from a comment.
    """
    world = facts.world if facts else AS_IT_IS
    for k, gaussians in enumerate(frames):
        file = path.with_stem(f"{path.stem}_{k:05d}") if k else path
        _write_one(file, gaussians, world, [ANTIALIASED] if antialiased else [])


def write_one(path: Path, gaussians: Gaussians, *, antialiased: bool = False) -> None:
    """Write Gaussians where they are; places in float64 are written as doubles."""
    _write_one(path, gaussians, AS_IT_IS, [ANTIALIASED] if antialiased else [])


def read_one(path: Path) -> Gaussians:
    """What `write_one` wrote, of any SH degree; raises InputError as `read` does."""
    n_rest = sum(name.startswith("f_rest_") for name in read_vertices(path).dtype.names)
    degree = round((n_rest / 3 + 1) ** 0.5 - 1)
    return activate(read(path, degree), degree)


def _write_one(path: Path, gaussians: Gaussians, world: World, comments: list[str]) -> None:
    n = len(gaussians.means)
    blocks = {
        "x y z": world.theirs(gaussians.means),
        "nx ny nz": torch.zeros(n, 3),
        "f_dc_": gaussians.sh[:, :1].transpose(1, 2),
        "f_rest_": gaussians.sh[:, 1:].transpose(1, 2),
        "opacity": gaussians.opacities.logit(eps=EDGE),
        "scale_": gaussians.scales.log() + math.log(world.unit),
        "rot_": gaussians.quats,
    }
    flat = {key: block.detach().cpu().reshape(n, -1).numpy() for key, block in blocks.items()}
    is_far = any(world.origin) or gaussians.means.dtype == torch.float64
    places = "<f8" if is_far else "<f4"
    columns = {
        name: (column, places if key == "x y z" else "<f4")
        for key, block in flat.items()
        for name, column in zip(_property_names(key, block.shape[1]), block.T, strict=True)
    }
    rows = np.empty(n, [(name, kind) for name, (_, kind) in columns.items()])
    for name, (column, _) in columns.items():
        rows[name] = column
    with replacing(path) as part:
        elements = [PlyElement.describe(rows, "vertex")]
        PlyData(elements, byte_order="<", comments=comments).write(str(part))


def read(path: Path, sh_degree: int) -> dict[str, Tensor]:
    """The raw columns of `write`'s file, as `GaussianTable.from_points` names them.

    Raises InputError for another SH degree or layout.
    """
    vertex = read_vertices(path)
    names = set(vertex.dtype.names)
    n_rest = 3 * ((sh_degree + 1) ** 2 - 1)
    found = sum(name.startswith("f_rest_") for name in names)
    if found != n_rest:
        degree = round((found / 3 + 1) ** 0.5 - 1, 2)
        raise InputError(
            f"{path}: it has {found} f_rest columns (SH degree {degree:g}), expected {n_rest} "
            f"(degree {sh_degree}); set sh_degree={degree:g} or give another file"
        )
    wanted = {"x y z": 3, "f_dc_": 3, "f_rest_": n_rest, "opacity": 1, "scale_": 3, "rot_": 4}
    blocks = {
        key: vertex_columns(path, vertex, _property_names(key, size))
        for key, size in wanted.items()
    }
    n = len(vertex)
    return {
        "means": blocks["x y z"],
        "quats": blocks["rot_"],
        "log_scales": blocks["scale_"],
        "opacity_logits": blocks["opacity"],
        "sh_dc": blocks["f_dc_"].reshape(n, 3, 1).transpose(1, 2).contiguous(),
        "sh_rest": blocks["f_rest_"].reshape(n, 3, -1).transpose(1, 2).contiguous(),
    }


def _property_names(key: str, size: int) -> list[str]:
    if key.endswith("_"):
        return [f"{key}{k}" for k in range(size)]
    return key.split()
