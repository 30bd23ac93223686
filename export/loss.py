"""What a file lost: its Gaussians drawn beside those that were written into it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gaussian_renderer import Painter
from scene.cameras import Camera
from scene.gaussian_model import Gaussians
from scoring.metrics import psnr


@torch.no_grad()
def decibels(
    pairs: list[tuple[Gaussians, Gaussians]],
    cameras: list[Camera],
    background: Tensor,
    *,
    antialiased: bool,
) -> float:
    """Mean PSNR in dB over the cameras, each before its own pair (written, read); infinite where
    all pictures are equal."""
    paint, squares = Painter(), []
    for camera, (written, read) in zip(cameras, pairs, strict=True):
        shown = [
            paint(camera, gaussians, background, antialiased=antialiased).image.clamp(0, 1).clone()
            for gaussians in (written, read)
        ]
        squares.append(float(psnr(shown[1], shown[0])))
    finite = [value for value in squares if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.inf
