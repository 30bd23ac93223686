"""Which pixels of a picture show the head, which the torso with the neck: each has its score."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import torch
from torch import Tensor

from scene.frames import Frame
from scene.regions import chin
from utils.images import Pixels, read_matte, undistort

NAMES = ("head", "torso")  # part k + 1; 0 is neither
LEVEL = 100  # grey of part 1 in a picture of parts, half of that of part 2
HALF = 128  # of 255: coverage from which a pixel is the subject's


def parts_of(frame: Frame, regions: Mapping[str, Tensor]) -> Pixels | None:
    """(H, W) the part that every pixel of a loaded frame shows, as its parsing says; without one,
    what is above and below the chin, which the mouth's box tells.

    None where neither says anything: the picture is no head's, or shows its room, too.
    """
    if frame.image is None or "mouth" not in regions:
        return None
    subject = (frame.alpha[0] * 255).round().to(torch.uint8).cpu().numpy() >= HALF
    if frame.parsing is not None:
        head, torso = (
            _matte(frame, colors) for colors in (frame.parsing.head, frame.parsing.torso)
        )
    elif subject.all():
        return None
    else:
        torso = _below_chin(frame, regions["mouth"])
        head = ~torso
    return (subject * (head + 2 * (torso & ~head))).astype(np.uint8)


def as_picture(parts: Pixels) -> Pixels:
    """(H, W, 3) for the disk and for the eye; `parts_in` reads it."""
    return np.repeat(LEVEL * parts[..., None], 3, 2)


def parts_in(picture: Pixels) -> Pixels:
    """(H, W) of a picture (H, W, 3) that `as_picture` made."""
    return picture[..., 0] // LEVEL


def _matte(frame: Frame, colors: tuple[tuple[int, int, int], ...]) -> np.ndarray:
    matte = read_matte(frame.parsing.path, colors)
    if frame.lens is not None:
        matte = undistort(matte, frame.lens.K, frame.lens.coefficients)
    size = (frame.camera.width, frame.camera.height)
    return cv2.resize(matte, size, interpolation=cv2.INTER_AREA) >= HALF


def _below_chin(frame: Frame, mouth: Tensor) -> np.ndarray:
    """(H, W) pixels below the line that runs through the chin from ear to ear."""
    side, ahead = float(mouth[1, 0]), float(mouth[:, 2].mean())
    ends = torch.tensor([[x, chin(mouth), ahead] for x in (-side, side)])
    if frame.head_to_world is not None:
        turn = frame.head_to_world.to(ends)
        ends = ends @ turn[:3, :3].T + turn[:3, 3]
    camera = frame.camera
    (x0, y0), (x1, y1) = camera.project(ends)[0].tolist()
    x = np.arange(camera.width) + 0.5
    line = y0 + (y1 - y0) / (x1 - x0) * (x - x0) if abs(x1 - x0) > 1e-3 else np.full_like(x, y0)
    return np.arange(camera.height)[:, None] + 0.5 > line
