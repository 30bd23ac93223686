"""Frames that no camera took: an avatar turned, its expressions swept one by one, or driven by another
sequence. Each function gives frames without pictures, for `render.py` to draw."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from scene import Scene
from scene.frames import NO_ROW, Frame
from scene.paths import common_up, swung
from utils.errors import InputError

SWEEP = (-1.0, -0.5, 0.0, 0.5, 1.0)  # of the way from the mean to the ends of the training range
RANGE = (0.02, 0.98)  # quantiles that count as the training range: trackers have outliers


def turned(scene: Scene, degrees: float, count: int, *, playing: bool) -> list[Frame]:
    """`count` views that turn to both sides and back, about the upright axis through the head.

    `playing` lets the held-out sequence run meanwhile; otherwise its first frame stands still. The
    axis goes with a head that moves in its world, so that the head turns and does not swing.
    """
    shown = _shown(scene)
    up = common_up([frame.camera for frame in scene.train])
    frames = []
    for k in range(count):
        frame = shown[k * len(shown) // count] if playing else shown[0]
        angle = math.radians(degrees) * math.sin(2 * math.pi * k / count)
        camera = swung(shown[0].camera, _pivot(scene, frame), up, angle)
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
    Raises InputError where either has no expressions, or not the same number, or where the avatar has
    FLAME poses and the driver has none.
    """
    low, mean, high = expression_range(scene.train)
    performance = _moments(_performance(scene, other))
    foreign = expression_range(performance)[1]
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


def reenacted(scene: Scene, other: Scene, *, clamp: bool) -> list[Frame]:
    """The frames of `other`, another sequence of the same subject, before its own cameras and with its
    pictures, so that the avatar's performance can be scored.

    `clamp` holds every coefficient in the training range. Raises InputError as `driven` does.
    """
    low, _, high = expression_range(scene.train)
    frames = sorted(_performance(scene, other), key=lambda frame: frame.time)
    if clamp:
        frames = [replace(f, expression=f.expression.clamp(low, high)) for f in frames]
    return [replace(frame, index=NO_ROW) for frame in frames]


def _performance(scene: Scene, other: Scene) -> list[Frame]:
    """All frames of the driving sequence; InputError where the subject of `scene` cannot perform them."""
    every = other.train + other.val + other.test
    # Where nothing is held out, the test frames stand among the training frames, too.
    frames = list({(frame.index, frame.image_path): frame for frame in every}.values())
    known, shown = expression_range(scene.train)[1], expression_range(frames, "the driving sequence")[1]
    if len(shown) != len(known):
        raise InputError(
            f"the driving sequence has {len(shown)} expression coefficients, the avatar was trained on "
            f"{len(known)}; drive it by a sequence of the same tracker"
        )
    has_poses = scene.train[0].flame_pose is not None
    if has_poses and any(frame.flame_pose is None for frame in frames):
        raise InputError(
            "the driving sequence has no FLAME poses, the avatar's data has; drive it by a sequence of "
            "the same family"
        )
    return frames


def expression_range(frames: list[Frame], whose: str = "the dataset") -> tuple[Tensor, Tensor, Tensor]:
    """(E,) low end, mean and high end of every coefficient over the frames."""
    if any(frame.expression is None for frame in frames):
        raise InputError(
            f"{whose} has no expression coefficients; this needs a head dataset (see data/README.md)"
        )
    table = torch.stack([frame.expression for frame in frames])
    low, high = torch.quantile(table, table.new_tensor(RANGE), dim=0)
    return low, table.mean(0), high


def _shown(scene: Scene) -> list[Frame]:
    """The sequence to show: the held-out one, or the training frames where nothing is held out."""
    return _moments(scene.test or scene.train)


def _moments(frames: list[Frame]) -> list[Frame]:
    """One frame of each moment, in time order: rigs have several, from camera to camera."""
    first: dict[int, Frame] = {}
    for frame in frames:
        first.setdefault(frame.index, frame)
    return sorted(first.values(), key=lambda frame: frame.time)


def _pivot(scene: Scene, frame: Frame) -> Tensor:
    """(3,) what a turn goes about: the origin of the head's frame, which every family has in the head.

    Where the optical axes meet says nothing: the camera may stand still, and it need not look at
    the head's middle. A scene without a head turns about the middle of its starting points.
    """
    if frame.head_to_world is not None:
        return frame.head_to_world[:3, 3]
    if frame.expression is not None:
        return torch.zeros(3)
    return scene.points.xyz.median(0).values


def _without_picture(frame: Frame) -> Frame:
    return replace(frame, image_path=None, mask=None, lens=None)
