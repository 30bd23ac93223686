"""Where the Gaussians start: points of a file, or random ones where a folder has none."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scene.cameras import MAX_DISTANCE, Camera
from scene.frames import PointCloud
from scene.paths import focus, poses, stand_still
from scene.world import World
from utils.errors import InputError
from utils.ply import read_points, read_vertices
from utils.random import generator

STILL_NEAR, STILL_FAR = 1.0, 8.0  # world units before a tripod, where any unit is as good
GREY = 0.5
GREY_SPREAD = 0.28 / 255  # of random colours (4DGS): grey, but no two the same


def usable_points(file: Path, world: World) -> PointCloud:
    """The points of a PLY file, where `world` has them; grey where the file has no colours.

    InputError where there are none or some are nowhere.
    """
    xyz, rgb = read_points(file)
    if any(world.origin):  # far off, float32 would round what the file may have as doubles
        vertex = read_vertices(file)
        xyz = torch.from_numpy(np.stack([vertex[axis] for axis in "xyz"], 1).astype(np.float64))
    return checked_points(file, world.own(xyz), rgb)


def checked_points(file: Path, xyz: Tensor, rgb: Tensor | None) -> PointCloud:
    """The points (P, 3) that came from `file`, grey where it has no colours `rgb` (P, 3);
    InputError where there are none or some are nowhere."""
    xyz = xyz.float()
    points = grey(xyz) if rgb is None else PointCloud(xyz, rgb)
    if not len(points.xyz):
        raise InputError(
            f"{file}: it holds no points; write it again, or remove it to start from random points"
        )
    bad = int((~(points.xyz.abs() <= MAX_DISTANCE).all(1)).sum())  # NaN is not below it either
    if bad:
        raise InputError(
            f"{file}: {bad} of its {len(points.xyz)} points are not finite or beyond "
            f"{MAX_DISTANCE:g}; remove them from the file"
        )
    return points


def grey(xyz: Tensor) -> PointCloud:
    """Points (P, 3) whose colours nobody knows."""
    noise = torch.rand(len(xyz), 3, generator=generator(0, "point colours"))
    return PointCloud(xyz, GREY + GREY_SPREAD * noise)


def cube_in_view(cameras: list[Camera], count: int) -> PointCloud:
    """`count` random points in the cube that all cameras look at.

    It is centred on the focus of the cameras; 0.9 of the half field of view at their median
    distance gives the published half-size of 1.3 for D-NeRF's own rig. Cameras that stand still
    have no such cube: their points lie before them.
    """
    if stand_still(cameras):
        return points_in_view(cameras, count, near=STILL_NEAR, far=STILL_FAR)
    return cube_about(focus(cameras), cameras, count)


def cube_about(center: Tensor, cameras: list[Camera], count: int) -> PointCloud:
    """`count` random points in a cube about `center` (3,), as large as `cube_in_view` says."""
    distance = (poses(cameras)[:, :3, 3] - center).norm(dim=1).median()
    half = 0.9 * float(distance) * math.tan(cameras[0].fov_x / 2)
    unit = 2 * torch.rand(count, 3, generator=generator(0, "points in a cube")) - 1
    return grey(center + half * unit)


def points_in_view(cameras: list[Camera], count: int, *, near: float, far: float) -> PointCloud:
    """`count` random points before the cameras: a random pixel each, uniform in 1 / depth.

    So they lie as dense as pixels see them, for rigs that face one way into an open scene.
    """
    source = generator(0, "points in view")
    which = torch.randint(len(cameras), (count,), generator=source)
    u, v, s = torch.rand(3, count, generator=source)
    size = torch.tensor([[c.width, c.height] for c in cameras])[which]
    pixels = torch.stack([u * size[:, 0], v * size[:, 1], torch.ones(count)], dim=1)
    depth = 1 / torch.lerp(torch.tensor(1 / near), torch.tensor(1 / far), s)
    rays = torch.linalg.solve(torch.stack([c.K for c in cameras])[which], pixels)
    viewmat = torch.stack([c.viewmat for c in cameras])[which]
    local = depth[:, None] * rays - viewmat[:, :3, 3]
    return grey((viewmat[:, :3, :3].mT @ local[:, :, None])[:, :, 0])
