"""Where cameras go: turns, orbits and tours about what a set of cameras looks at, and its size."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from scene.cameras import Camera

ROUNDING = 1e-6  # of a place in float32


def poses(cameras: list[Camera]) -> Tensor:
    """(N, 4, 4) camera-to-world matrices.

    Exact inverses, for what is computed once from all cameras: the rotations of `viewmat` are
    rounded, so that their transposes, which `Camera.center` takes, differ in the last place.
    """
    return torch.linalg.inv(torch.stack([camera.viewmat for camera in cameras]).double()).float()


def stand_still(cameras: list[Camera]) -> bool:
    """Whether all cameras are in one place, as on a tripod: how far things are, nothing tells."""
    centers = poses(cameras)[:, :3, 3].double()
    spread = (centers - centers.mean(0)).norm(dim=1).max()
    return bool(spread <= ROUNDING * centers.norm(dim=1).max())


def in_turn(cameras: list[Camera], count: int) -> list[Camera]:
    """`count` views of the cameras, one after the other: the path of those that stand still."""
    return [cameras[k * len(cameras) // count] for k in range(count)]


def look_at(eye: Tensor, target: Tensor, up: Tensor) -> Tensor:
    """(4, 4) world-to-camera matrix of a camera at `eye` that looks at `target`, OpenCV axes."""
    forward = normalize(target - eye, dim=0)
    right = normalize(torch.linalg.cross(forward, up), dim=0)
    down = torch.linalg.cross(forward, right)
    viewmat = torch.eye(4, dtype=eye.dtype)
    viewmat[:3, :3] = torch.stack([right, down, forward])
    viewmat[:3, 3] = -viewmat[:3, :3] @ eye
    return viewmat


def focus(cameras: list[Camera]) -> Tensor:
    """(3,) the point nearest, in the least-squares sense, to all optical axes.

    Rigs whose axes are (nearly) parallel have no such point; the damping then keeps the answer one
    typical camera spread in front of the cameras.
    """
    centers, axes = poses(cameras)[:, :3, 3].double(), poses(cameras)[:, :3, 2].double()
    across = torch.eye(3, dtype=torch.float64) - axes[:, :, None] * axes[:, None, :]
    prior = centers.mean(0) + axes.mean(0) * centers.std(0, correction=0).norm()
    damping = 1e-3 * torch.eye(3, dtype=torch.float64)
    rhs = (across @ centers[:, :, None]).mean(0)[:, 0] + damping @ prior
    return torch.linalg.solve(across.mean(0) + damping, rhs).float()


def swung(camera: Camera, pivot: Tensor, axis: Tensor, angle: float) -> Camera:
    """The camera carried by `angle` (radians) about the unit `axis` (3,) through `pivot` (3,)."""
    (x, y, z), back = axis.tolist(), torch.eye(4)
    back[:3, :3] = torch.matrix_exp(-angle * torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]]))
    back[:3, 3] = pivot - back[:3, :3] @ pivot
    return replace(camera, viewmat=camera.viewmat @ back)


def swayed(camera: Camera, pivot: Tensor, axis: Tensor, angle: float, part: float) -> Camera:
    """The camera `part` (0 to 1) of the way to `angle` (radians), to its negative and back."""
    return swung(camera, pivot, axis, angle * math.sin(2 * math.pi * part))


def orbit(
    cameras: list[Camera], count: int, elevation: float, up: Tensor | None = None
) -> list[Camera]:
    """`count` cameras on a full circle about the focus of `cameras`, at their median distance.

    `elevation` is the angle above the horizon in radians, `up` (3,) the world's up axis, z where
    nothing is said. Size and intrinsics are those of the first camera.
    """
    if stand_still(cameras):
        return in_turn(cameras, count)
    first, target = cameras[0], focus(cameras)
    radius = (poses(cameras)[:, :3, 3] - target).norm(dim=1).median()
    _, y, z = torch.eye(3)
    up = z if up is None else up
    side = normalize(torch.linalg.cross(y if abs(up[1]) < 0.9 else z, up), dim=0)
    front = torch.linalg.cross(up, side)
    path = []
    for k in range(count):
        azimuth = -math.pi + 2 * math.pi * k / count
        flat = math.cos(azimuth) * side + math.sin(azimuth) * front
        eye = target + radius * (math.cos(elevation) * flat + math.sin(elevation) * up)
        path.append(replace(first, viewmat=look_at(eye, target, up)))
    return path


def spiral(cameras: list[Camera], count: int, turns: int = 2) -> list[Camera]:
    """`count` cameras that wind about the middle of `cameras` and look at their focus (LLFF).

    The spiral is as wide as nine tenths of the cameras stand from the middle.
    """
    if stand_still(cameras):
        return in_turn(cameras, count)
    centers = poses(cameras)[:, :3, 3]
    middle, target, up = centers.mean(0), focus(cameras), common_up(cameras)
    axes = look_at(middle, target, up)[:3, :3]  # rows: right, down, forward
    radii = torch.quantile(((centers - middle) @ axes.T).abs(), 0.9, dim=0)
    path = []
    for k in range(count):
        angle = 2 * math.pi * turns * k / count
        swing = torch.tensor([math.cos(angle), math.sin(angle), math.sin(angle / 2)])
        eye = middle + (radii * swing) @ axes
        path.append(replace(cameras[0], viewmat=look_at(eye, target, up)))
    return path


def tour(cameras: list[Camera], count: int) -> list[Camera]:
    """A path to show the scene on: a spiral before cameras that face one way, else a circle."""
    facing = poses(cameras)[:, :3, 2].mean(0).norm()
    if facing > 0.5:
        return spiral(cameras, count)
    return orbit(cameras, count, math.radians(10), common_up(cameras))


def common_up(cameras: list[Camera]) -> Tensor:
    """(3,) the mean of the cameras' up directions: the world's, for cameras held upright."""
    ups = torch.stack([-c.viewmat[1, :3] for c in cameras])
    return normalize(ups.mean(0), dim=0)


def extent(cameras: list[Camera]) -> float:
    """1.1 times the largest distance of a camera from the mean camera (3DGS): the scene's unit.

    A rig that stands still would give 0; its distance to what it looks at stands in for it.
    """
    centers = poses(cameras)[:, :3, 3]
    radius = float((centers - centers.mean(0)).norm(dim=1).max())
    if radius > 1e-3:
        return 1.1 * radius
    return max(float((centers.mean(0) - focus(cameras)).norm()), 1.0)
