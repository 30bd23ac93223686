"""Boxes fixed in the head's frame, such as one around the mouth, and where pictures show them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import torch
from torch import Tensor

from scene.cameras import Camera
from scene.frames import Frame

CHIN = 0.4  # of the height of the mouth's box: how far below it the chin ends
# left, top, right, bottom in pixels; right and bottom excluded
Rectangle = tuple[int, int, int, int]


def rectangle(box: Tensor, frame: Frame) -> Rectangle | None:
    """The part of the frame's picture that a box, (2, 3) lowest and highest corner, covers.

    None where it lies behind the camera or outside the picture.
    """
    corners = torch.stack(
        [box[list(pick), [0, 1, 2]] for pick in itertools.product((0, 1), repeat=3)]
    )
    if frame.head_to_world is not None:
        turn = frame.head_to_world.to(corners)
        corners = corners @ turn[:3, :3].T + turn[:3, 3]
    return _bounds(frame.camera, corners)


def chin(mouth: Tensor) -> float:
    """The height where the chin ends, from the mouth's box (2, 3), y up."""
    return float(mouth[0, 1] - CHIN * (mouth[1, 1] - mouth[0, 1]))


def rectangles(boxes: Mapping[str, Tensor], frame: Frame) -> dict[str, Rectangle]:
    """What the frame shows of each box."""
    found = {name: rectangle(box, frame) for name, box in boxes.items()}
    return {name: part for name, part in found.items() if part}


def _bounds(camera: Camera, points: Tensor) -> Rectangle | None:
    pixels, depths = camera.project(points)
    if not bool((depths > camera.near).all()):
        return None
    left, top = (max(math.floor(v), 0) for v in pixels.amin(0).tolist())
    right, bottom = (
        min(math.ceil(v), size)
        for v, size in zip(pixels.amax(0).tolist(), (camera.width, camera.height), strict=True)
    )
    return (left, top, right, bottom) if left < right and top < bottom else None


def crop(image: Tensor, part: Rectangle) -> Tensor:
    """The rectangle of a picture (C, H, W)."""
    left, top, right, bottom = part
    return image[:, top:bottom, left:right]
