"""Scores of a model on frames with ground truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from gaussian_renderer import render
from scene.frames import Frame, FrameLoader
from scene.gaussian_model import Gaussians
from utils.metrics import fg_psnr, psnr, ssim

Scores = dict[str, float | None]


@dataclass(frozen=True)
class Evaluation:
    """Mean scores over some frames, and the pictures of a few of them."""

    scores: Scores
    pictures: list[tuple[Tensor, Tensor]]  # ground truth and render, (3, H, W) each


@torch.no_grad()
def evaluate(
    pose: Callable[[Frame], Gaussians],
    frames: list[Frame],
    loader: FrameLoader,
    background: Tensor,
    n_pictures: int = 4,
) -> Evaluation:
    """PSNR, foreground PSNR and SSIM, each computed per picture and averaged."""
    rows: list[dict[str, float]] = []
    pictures = []
    for k, frame in enumerate(loader.load(f, background) for f in frames):
        image = render(frame.camera, pose(frame), frame.background).image.clamp(0, 1)
        rows.append(
            {
                "psnr": float(psnr(image, frame.image)),
                "fg_psnr": float(fg_psnr(image, frame.image)),
                "ssim": float(ssim(image, frame.image)),
            }
        )
        if k * n_pictures // len(frames) == len(pictures):
            pictures.append((frame.image, image))
    return Evaluation({key: _mean([row[key] for row in rows]) for key in rows[0]}, pictures)


def _mean(values: list[float]) -> float | None:
    """Over the finite values: a view without foreground has no foreground PSNR."""
    finite = [value for value in values if math.isfinite(value)]
    return fmean(finite) if finite else None


def spread(frames: list[Frame], count: int) -> list[Frame]:
    """At most `count` frames, evenly spaced over the list."""
    count = min(count, len(frames))
    return [frames[k * len(frames) // count] for k in range(count)]
