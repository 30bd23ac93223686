"""Scores of a model on frames with ground truth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from types import MappingProxyType

from torch import Tensor

from gaussian_renderer.show import Show
from scene.frames import Frame
from scene.regions import crop, rectangle
from scoring.metrics import fg_psnr, psnr, ssim

Scores = dict[str, float | None]


@dataclass(frozen=True)
class Evaluation:
    """Mean scores over some frames, and the pictures of a few of them."""

    scores: Scores
    pictures: list[tuple[Tensor, Tensor]]  # ground truth and render, (3, H, W) each


def evaluate(
    show: Show,
    frames: list[Frame],
    regions: Mapping[str, Tensor] = MappingProxyType({}),
    n_pictures: int = 4,
) -> Evaluation:
    """PSNR, foreground PSNR, SSIM and the PSNR of each region, computed per picture and
    averaged."""
    rows: list[dict[str, float]] = []
    pictures = []
    for k, frame in enumerate(map(show.load, frames)):
        image = show(frame).image.clamp(0, 1)
        rows.append(
            {
                "psnr": float(psnr(image, frame.image)),
                "fg_psnr": float(fg_psnr(image, frame.image)),
                "ssim": float(ssim(image, frame.image)),
                **{f"{name}_psnr": _psnr_in(box, image, frame) for name, box in regions.items()},
            }
        )
        if k * n_pictures // len(frames) == len(pictures):
            pictures.append((frame.image, image))
    return Evaluation({key: _mean([row[key] for row in rows]) for key in rows[0]}, pictures)


def _psnr_in(box: Tensor, image: Tensor, frame: Frame) -> float:
    """PSNR where the frame shows the box; NaN where it does not."""
    part = rectangle(box, frame)
    return float(psnr(crop(image, part), crop(frame.image, part))) if part else math.nan


def _mean(values: list[float]) -> float | None:
    """Over the finite values: a view may have no foreground, or not show a region."""
    finite = [value for value in values if math.isfinite(value)]
    return fmean(finite) if finite else None
