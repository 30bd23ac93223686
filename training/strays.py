"""Gaussians of a trained model that went astray: they left the scene, or shrank to dots."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gaussian_renderer import narrower
from gaussian_renderer.show import Show
from scene.frames import Frame

DOT = 0.1  # pixels; a narrower Gaussian is a dot of the rasterizer's own width, or nothing
MANY = 0.02  # of all


@dataclass(frozen=True)
class Strays:
    """Shares of Gaussians, as posed for some views."""

    beyond: float  # the scene's box with a box on every side of it
    dots: float

    @property
    def many(self) -> bool:
        return max(self.beyond, self.dots) > MANY

    def __str__(self) -> str:
        return (
            f"{self.beyond:.1%} of the Gaussians are posed far beyond the scene's box, "
            f"{self.dots:.1%} are under a tenth of a pixel"
        )


@torch.no_grad()
def strays(show: Show, frames: list[Frame], box: tuple[Tensor, Tensor]) -> Strays:
    """Of the poses of these frames; box: corners (3,), (3,) in world units."""
    low, high = box
    side = (high - low).amax()
    found = []
    for frame in map(show.load, frames):
        posed = show.pose(frame)
        means = posed.means
        beyond = (means < low.to(means) - side).any(1) | (means > high.to(means) + side).any(1)
        dot = narrower(frame.camera, posed, DOT)
        found.append(torch.stack([beyond.float().mean(), dot.float().mean()]))
    return Strays(*torch.stack(found).mean(0).tolist()) if found else Strays(0.0, 0.0)
