"""Drawing: a camera and Gaussians in, a picture out. It knows no method and no dataset."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diff_gaussian_rasterization import rasterize
from torch import Tensor

from scene.cameras import Camera
from scene.gaussian_model import Gaussians


@dataclass(frozen=True)
class Render:
    """One drawn view."""

    image: Tensor  # (C, H, W)
    alpha: Tensor  # (1, H, W) coverage in [0, 1]
    depth: Tensor  # (1, H, W) expected camera z where something was drawn, else 0; world units
    radii: Tensor  # (N,) pixels, 0 = not drawn
    means2d: Tensor  # (N, 3); after backward its gradient is d loss / d place on screen (NDC)
    gaussians: Gaussians


def render(camera: Camera, gaussians: Gaussians, background: Tensor) -> Render:
    """Draw Gaussians in front of a colour (C,) or a picture (C, H, W); differentiable in every field of
    `gaussians`."""
    color = background if background.ndim == 1 else None
    means2d = torch.zeros_like(gaussians.means, requires_grad=torch.is_grad_enabled())
    out = rasterize(
        gaussians.means,
        gaussians.quats,
        gaussians.scales,
        gaussians.opacities,
        viewmat=camera.viewmat,
        K=camera.K,
        width=camera.width,
        height=camera.height,
        sh=gaussians.sh,
        colors=gaussians.colors,
        sh_degree=gaussians.sh_degree,
        background=color,
        near=camera.near,
        far=camera.far,
        means2d=means2d,
    )
    depth = out.depth / out.alpha.clamp(min=1e-6)
    image = out.color if color is not None else out.color + (1 - out.alpha) * background
    return Render(image, out.alpha, depth, out.radii, means2d, gaussians)
