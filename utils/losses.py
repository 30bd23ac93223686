"""Losses on pictures."""

from __future__ import annotations

from collections.abc import Callable

import torch
from fused_fields import ssim
from torch import Tensor

from scene.frames import Frame
from scene.stage import Loss
from utils.perceptual import load_lpips
from utils.schedules import constant

Picture = Callable[[Tensor, Tensor], Tensor]


def l1(image: Tensor, truth: Tensor) -> Tensor:
    return (image - truth).abs().mean()


def l2(image: Tensor, truth: Tensor) -> Tensor:
    return (image - truth).square().mean()


def dssim(image: Tensor, truth: Tensor) -> Tensor:
    """1 - SSIM: 11x11 Gaussian window, zero padding (3DGS)."""
    return 1 - ssim(image, truth)


def lpips() -> Picture:
    """LPIPS of AlexNet; the weights are read when this is called."""
    net = load_lpips(None, "alex")
    return lambda image, truth: net.to(image.device)(image, truth)


def on_pictures(fn: Picture) -> Callable[[list, list[Frame]], Tensor]:
    """Average a comparison of two pictures over the views of a batch."""

    def mean(renders: list, frames: list[Frame]) -> Tensor:
        terms = [fn(r.image, f.image) for r, f in zip(renders, frames, strict=True)]
        return torch.stack(terms).mean()

    return mean


def photometric(**weights: float) -> list[Loss]:
    """Terms by weight; what weighs nothing is not built, so LPIPS is not loaded for nothing."""
    terms: dict[str, Callable[[], Picture]] = {
        "l1": lambda: l1,
        "l2": lambda: l2,
        "dssim": lambda: dssim,
        "lpips": lpips,
    }
    return [
        Loss(name, constant(weight), on_pictures(terms[name]()))
        for name, weight in weights.items()
        if weight
    ]
