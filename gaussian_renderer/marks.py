"""Points and their paths drawn over a picture: what a model's Gaussians ride on, and where they
go."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scene.frames import Frame
from scene.gaussian_model import Gaussians
from utils.images import Pixels

Marks = Callable[[Frame, Pixels], Pixels]  # a loaded frame and its picture to the marked picture
NEAREST = 1e-3  # world units before a camera, from where a point is drawn
TAIL = 20  # moments of a path that are drawn behind its point
OPAQUE = 0.5  # Gaussians that are followed are at least so opaque
FINE = 3  # bits of a pixel's fraction that OpenCV draws by


def dots(points: Callable[[Frame], Tensor]) -> Marks:
    """Draw a cloud of points (P, 3), each in a colour of its own that it keeps."""

    def marked(frame: Frame, pixels: Pixels) -> Pixels:
        cloud = points(frame)
        image = np.ascontiguousarray(pixels // 2 + 127)
        places, seen = _on_screen(cloud, frame)
        for (x, y), ok, colour in zip(places, seen, hues(len(cloud)), strict=True):
            if ok:
                cv2.circle(image, (int(x), int(y)), 1 << (FINE - 1), colour, -1, cv2.LINE_AA, FINE)
        return image

    return marked


@dataclass(frozen=True)
class Trails:
    """Draw where points were in the moments before, for frames in the order of their times."""

    times: Sequence[float]
    paths: Tensor  # (T, P, 3) world units

    def __call__(self, frame: Frame, pixels: Pixels) -> Pixels:
        image = np.ascontiguousarray(pixels // 2 + 127)
        now = int(np.abs(np.asarray(self.times) - frame.time).argmin())
        before = self.paths[max(now - TAIL, 0) : now + 1]
        flat, seen = _on_screen(before.flatten(0, 1), frame)
        shape = before.shape[:2]
        lines, whole = flat.reshape(*shape, 2), seen.reshape(shape).all(0)
        for k, colour in enumerate(hues(shape[1])):
            if whole[k]:
                cv2.polylines(
                    image, [np.ascontiguousarray(lines[:, k])], False, colour, 1, cv2.LINE_AA, FINE
                )
                tip = tuple(map(int, lines[-1, k]))
                cv2.circle(image, tip, 1 << FINE, colour, -1, cv2.LINE_AA, FINE)
        return image


@torch.no_grad()
def trails(pose: Callable[[Frame], Gaussians], frames: Sequence[Frame], count: int) -> Trails:
    """Of `count` opaque Gaussians, evenly over the table, before the frames' moments."""
    posed = [pose(frame) for frame in frames]
    opaque = (posed[0].opacities[:, 0] >= OPAQUE).nonzero()[:, 0]
    if not len(opaque):
        opaque = torch.arange(len(posed[0].means))
    chosen = opaque[torch.arange(min(count, len(opaque))) * len(opaque) // min(count, len(opaque))]
    return Trails([frame.time for frame in frames], torch.stack([g.means[chosen] for g in posed]))


def hues(count: int) -> list[tuple[int, int, int]]:
    """RGB colours that differ; neighbours in the list do, too."""
    turns = (0.618033988749895 * k % 1 for k in range(count))
    return [tuple(int(255 * part) for part in colorsys.hsv_to_rgb(t, 0.9, 0.8)) for t in turns]


def _on_screen(points: Tensor, frame: Frame) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Places (P, 2) in parts of pixels as OpenCV draws, and which of them the picture shows."""
    places, depths = frame.camera.project(points, NEAREST)
    size = places.new_tensor([frame.camera.width, frame.camera.height])
    seen = (depths > NEAREST) & (places >= 0).all(1) & (places < size).all(1)
    fine = ((places - 0.5).clamp(-1e4, 1e4) * 2**FINE).round().int()
    return fine.cpu().numpy(), seen.cpu().numpy()
