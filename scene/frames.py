"""Frames (one moment seen by one camera), their pixels, and the bounded cache that holds these."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from scene.cameras import Camera
from utils.devices import send
from utils.errors import InputError
from utils.images import (
    Pixels,
    check_image,
    read_image,
    read_matte,
    resize_premultiplied,
    to_tensor,
    undistort,
)

CODES = ("expression", "flame_pose", "head_to_world")  # fields that go where the picture goes
RGBA_BYTES = 4  # of a pixel in the cache; pictures without alpha take 3
QUICK = 2  # seconds of reading pictures that need no progress bar
EMPTY_ALPHA = 1  # of 255: some matting tools write it where there is nothing (STAG4D's anchors)


@dataclass(frozen=True)
class Mask:
    """A picture that says which pixels belong to the subject."""

    path: Path
    keep: tuple[tuple[int, int, int], ...] = ()  # RGB values (grey: three equal); none: a soft matte


@dataclass(frozen=True)
class Lens:
    """A lens that bends: the file's own intrinsics and OpenCV's coefficients k1 k2 p1 p2 k3."""

    K: tuple[float, float, float, float]  # fx fy cx cy, pixels of the file
    coefficients: tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Frame:
    """One moment seen by one camera. `None` means the dataset has no such thing."""

    camera: Camera
    index: int  # row of this moment in per-frame tables; frames of one moment share it
    time: float  # [0, 1] over the sequence
    image_path: Path | None = None
    mask: Mask | None = None  # takes the place of the picture's own alpha
    lens: Lens | None = None  # undone when the picture is decoded; the camera is a pinhole
    plate_path: Path | None = None  # picture of the empty room, the background of this frame
    expression: Tensor | None = None  # (E,) coefficients of the dataset's face model
    flame_pose: Tensor | None = None  # (15,) axis-angle: global, neck, jaw, left eye, right eye
    head_to_world: Tensor | None = None  # (4, 4) where the head stands; None: the world is the head
    image: Tensor | None = None  # (3, H, W) in [0, 1], composited on `background`; set by load
    alpha: Tensor | None = None  # (1, H, W) in [0, 1]; set by load
    background: Tensor | None = None  # (3,), or (3, H, W) with a plate; set by load


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
        self._pixels: dict[tuple[Path | None, Mask | None, int, int], Pixels] = {}

    def load(self, frame: Frame, background: Tensor) -> Frame:
        """The frame with its picture, on the loader's device, composited on its plate if it has one,
        else on `background` (3,).

        Raises InputError naming the file when it is missing, corrupt, or does not fit its camera.
        """
        behind = send(background, self.device)
        if frame.plate_path is not None:
            plate = replace(frame, image_path=frame.plate_path, mask=None)
            behind = to_tensor(self._read(plate), self.device)[:3]
        codes = {name: getattr(frame, name) for name in CODES}
        codes = {k: None if v is None else send(v, self.device) for k, v in codes.items()}
        frame = replace(frame, camera=frame.camera.to(self.device), background=behind, **codes)
        if frame.image_path is None:
            return frame
        pixels = to_tensor(self._read(frame), self.device)
        if len(pixels) == 3:
            return replace(frame, image=pixels, alpha=torch.ones_like(pixels[:1]))
        image = torch.lerp(behind.reshape(3, *behind.shape[1:] or (1, 1)), pixels[:3], pixels[3:])
        return replace(frame, image=image, alpha=pixels[3:])

    def preload(self, frames: Iterable[Frame]) -> None:
        """Fill the cache; what does not fit is read through without decoding it.

        So a broken file is found before training and not in the middle. Raises as `load` does.
        """
        # A rig has GB of pictures. No bar in a file: it would be the only line of a quiet run.
        bar = tqdm(frames, desc="reading pictures", unit="picture", delay=QUICK, disable=None)
        for frame in bar:
            if frame.image_path is None:
                continue
            if self.used + RGBA_BYTES * frame.camera.width * frame.camera.height <= self.budget:
                self._read(frame)
            else:
                for path in (frame.image_path, frame.mask and frame.mask.path, frame.plate_path):
                    if path is not None:
                        check_image(path)

    def _read(self, frame: Frame) -> Pixels:
        width, height = frame.camera.width, frame.camera.height
        key = (frame.image_path, frame.mask, width, height)
        if key not in self._pixels:
            pixels = decode(frame)
            if pixels.shape[:2] != (height, width):
                pixels = resize_premultiplied(pixels, width, height)
            if self.used + pixels.nbytes > self.budget:
                return pixels
            self._pixels[key] = pixels
            self.used += pixels.nbytes
        return self._pixels[key]


def decode(frame: Frame) -> Pixels:
    """The frame's picture at the size of its file: masked, then without the lens's bending.

    Raises InputError naming the file that is missing, corrupt or does not fit the other.
    """
    pixels = read_image(frame.image_path)
    if pixels.shape[2] == 4:
        pixels[..., 3][pixels[..., 3] <= EMPTY_ALPHA] = 0
    if frame.mask is not None:
        alpha = read_matte(frame.mask.path, frame.mask.keep)
        if alpha.shape != pixels.shape[:2]:
            raise InputError(
                f"{frame.mask.path}: the mask has {alpha.shape[1]}x{alpha.shape[0]} pixels, its picture "
                f"{frame.image_path} has {pixels.shape[1]}x{pixels.shape[0]}; write it in that size"
            )
        pixels = np.dstack([pixels[..., :3], alpha])
    if frame.lens is not None:
        pixels = undistort(pixels, frame.lens.K, frame.lens.coefficients)
    return pixels
