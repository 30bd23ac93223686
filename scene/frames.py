"""Frames (one moment seen by one camera), their pixels, and the bounded cache that holds these."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scene.cameras import Camera
from utils.images import check_image, read_image, resize_premultiplied, to_tensor

RGBA_BYTES = 4  # of a pixel in the cache; pictures without alpha take 3


@dataclass(frozen=True)
class Frame:
    """One moment seen by one camera. `None` means the dataset has no such thing."""

    camera: Camera
    index: int  # row of this moment in per-frame tables; frames of one moment share it
    time: float  # [0, 1] over the sequence
    image_path: Path | None = None
    image: Tensor | None = None  # (3, H, W) in [0, 1], composited on `background`; set by load
    alpha: Tensor | None = None  # (1, H, W) in [0, 1]; set by load
    background: Tensor | None = None  # (3,); set by load


@dataclass(frozen=True)
class PointCloud:
    """Where the Gaussians start: `xyz` (P, 3) world units, `rgb` (P, 3) in [0, 1]."""

    xyz: Tensor
    rgb: Tensor


class FrameLoader:
    """Decodes frames and keeps as many of them as fit the budget, as 8-bit pixels.

    Frames are visited in random order again and again, where evicting would throw away what the next
    pass needs: what came first stays, the rest is decoded when asked for.
    """

    def __init__(self, budget_mb: int, device: torch.device) -> None:
        self.budget = budget_mb * 2**20
        self.device = device
        self.used = 0
        self._pixels: dict[tuple[Path, int, int], np.ndarray] = {}

    def load(self, frame: Frame, background: Tensor) -> Frame:
        """The frame with its picture, on the loader's device, composited on `background` (3,).

        Raises InputError naming the file when it is missing, corrupt, or does not fit its camera.
        """
        background = background.to(self.device)
        frame = replace(frame, camera=frame.camera.to(self.device), background=background)
        if frame.image_path is None:
            return frame
        pixels = to_tensor(self._read(frame), self.device)
        if len(pixels) == 3:
            return replace(frame, image=pixels, alpha=torch.ones_like(pixels[:1]))
        image = torch.lerp(background[:, None, None], pixels[:3], pixels[3:])
        return replace(frame, image=image, alpha=pixels[3:])

    def preload(self, frames: Iterable[Frame]) -> None:
        """Fill the cache; what does not fit is read through without decoding it.

        So a broken file is found before training and not in the middle. Raises as `load` does.
        """
        for frame in frames:
            if frame.image_path is None:
                continue
            if self.used + RGBA_BYTES * frame.camera.width * frame.camera.height <= self.budget:
                self._read(frame)
            else:
                check_image(frame.image_path)

    def _read(self, frame: Frame) -> np.ndarray:
        width, height = frame.camera.width, frame.camera.height
        key = (frame.image_path, width, height)
        if key not in self._pixels:
            pixels = read_image(frame.image_path)
            if pixels.shape[:2] != (height, width):
                pixels = resize_premultiplied(pixels, width, height)
            if self.used + pixels.nbytes > self.budget:
                return pixels
            self._pixels[key] = pixels
            self.used += pixels.nbytes
        return self._pixels[key]
