"""Losses on pictures."""

from __future__ import annotations

from collections.abc import Callable

import torch
from fused_fields import ssim
from torch import Tensor

from gaussian_renderer import Render
from scene.frames import Frame
from scene.stage import Loss
from utils.perceptual import load_lpips
from utils.schedules import constant

Compare = Callable[[Render, Frame], Tensor]


def l1(image: Tensor, truth: Tensor) -> Tensor:
    return (image - truth).abs().mean()


def l2(image: Tensor, truth: Tensor) -> Tensor:
    return (image - truth).square().mean()


def dssim(image: Tensor, truth: Tensor) -> Tensor:
    """1 - SSIM: 11x11 Gaussian window, zero padding (3DGS)."""
    return 1 - ssim(image, truth)


def lpips() -> Callable[[Tensor, Tensor], Tensor]:
    """LPIPS of AlexNet; the weights are read when this is called."""
    net = load_lpips(None, "alex")
    return lambda image, truth: net.to(image.device)(image, truth)


def photometric(**weights: float) -> list[Loss]:
    """Terms by weight: l1, l2, dssim and lpips of the picture, alpha (L1 of the coverage).

    What weighs nothing is not built, so LPIPS is not loaded for nothing.
    """
    terms: dict[str, Callable[[], Compare]] = {
        "l1": lambda: of_picture(l1),
        "l2": lambda: of_picture(l2),
        "dssim": lambda: of_picture(dssim),
        "lpips": lambda: of_picture(lpips()),
        "alpha": lambda: lambda render, frame: l1(render.alpha, frame.alpha),
    }
    return [
        Loss(name, constant(weight), over_views(terms[name]()))
        for name, weight in weights.items()
        if weight
    ]


def of_picture(fn: Callable[[Tensor, Tensor], Tensor]) -> Compare:
    return lambda render, frame: fn(render.image, frame.image)


def over_views(fn: Compare) -> Callable[[list[Render], list[Frame]], Tensor]:
    """The mean of a comparison over the views of a batch."""

    def mean(renders: list[Render], frames: list[Frame]) -> Tensor:
        return torch.stack([fn(r, f) for r, f in zip(renders, frames, strict=True)]).mean()

    return mean
