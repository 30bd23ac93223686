"""Frames that no camera took: an avatar turned, its expressions swept one by one, or driven by another
sequence. Each function gives frames without pictures, for `render.py` to draw."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from scene import Scene
from scene.cameras import Camera, focus
from scene.frame_codes import NO_ROW
from scene.frames import Frame
from utils.errors import InputError

SWEEP = (-1.0, -0.5, 0.0, 0.5, 1.0)  # of the way from the mean to the ends of the training range
RANGE = (0.02, 0.98)  # quantiles that count as the training range: trackers have outliers


def turned(scene: Scene, degrees: float, count: int, *, playing: bool) -> list[Frame]:
    """`count` views that turn to both sides and back, about the upright axis through the head.

    `playing` lets the held-out sequence run meanwhile; otherwise its first frame stands still.
    """
    shown = _shown(scene)
    cameras = [frame.camera for frame in scene.train]
    pivot = focus(cameras)
    up = torch.nn.functional.normalize(torch.stack([-c.viewmat[1, :3] for c in cameras]).mean(0), dim=0)
    frames = []
    for k in range(count):
        frame = shown[k * len(shown) // count] if playing else shown[0]
        angle = math.radians(degrees) * math.sin(2 * math.pi * k / count)
        camera = _orbited(shown[0].camera, pivot, up, angle)
        frames.append(replace(_without_picture(frame), camera=camera))
    return frames


def swept(scene: Scene) -> list[list[Frame]]:
    """One row of frames per expression coefficient: it goes through `SWEEP`, the others rest.

    Raises InputError where the dataset has no expressions.
    """
    base = _without_picture(_shown(scene)[0])
    low, mean, high = expression_range(scene.train)
    rows = []
    for k in range(len(mean)):
        row = []
        for part in SWEEP:
            value = mean.clone()
            value[k] = torch.lerp(mean[k], high[k] if part > 0 else low[k], abs(part))
            row.append(replace(base, expression=value, index=NO_ROW))
        rows.append(row)
    return rows


def driven(scene: Scene, other: Scene, *, subtract_mean: bool, clamp: bool) -> list[Frame]:
    """The frames of `other`, in time order, performed by the subject of `scene` before its own camera.

    `subtract_mean` takes the other's mean expression away and puts the subject's own in its place: what
    the tracker sees as identity stays behind. `clamp` holds every coefficient in the training range.
    Raises InputError where either has no expressions, or not the same number.
    """
    low, mean, high = expression_range(scene.train)
    performance = sorted(other.train + other.val + other.test, key=lambda frame: frame.time)
    foreign = expression_range(performance)[1]
    if len(foreign) != len(mean):
        raise InputError(
            f"the driving sequence has {len(foreign)} expression coefficients, the avatar was trained on "
            f"{len(mean)}; drive it by a sequence of the same tracker"
        )
    base = _without_picture(_shown(scene)[0])
    frames = []
    for k, source in enumerate(performance):
        value = source.expression - foreign + mean if subtract_mean else source.expression
        value = value.clamp(low, high) if clamp else value
        time = k / max(len(performance) - 1, 1)
        frames.append(
            replace(base, expression=value, flame_pose=source.flame_pose, time=time, index=NO_ROW)
        )
    return frames


def expression_range(frames: list[Frame]) -> tuple[Tensor, Tensor, Tensor]:
    """(E,) low end, mean and high end of every coefficient over the frames."""
    if any(frame.expression is None for frame in frames):
        raise InputError(
            "the dataset has no expression coefficients; this needs a head dataset (see data/README.md)"
        )
    table = torch.stack([frame.expression for frame in frames])
    low, high = torch.quantile(table, table.new_tensor(RANGE), dim=0)
    return low, table.mean(0), high


def _shown(scene: Scene) -> list[Frame]:
    """The sequence to show: the held-out one, or the training frames where nothing is held out."""
    return scene.test or scene.train


def _without_picture(frame: Frame) -> Frame:
    return replace(frame, image_path=None, mask=None, lens=None)


def _orbited(camera: Camera, pivot: Tensor, axis: Tensor, angle: float) -> Camera:
    """The camera carried about an axis through a point, by an angle in radians."""
    x, y, z = axis.tolist()
    cross = axis.new_tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = torch.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
    world = torch.eye(4)
    world[:3, :3], world[:3, 3] = turn, pivot - turn @ pivot
    return replace(camera, viewmat=camera.viewmat @ torch.linalg.inv(world))
