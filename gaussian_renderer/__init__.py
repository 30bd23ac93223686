"""Drawing: a camera and Gaussians in, a picture out. It knows no method and no dataset."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from diff_gaussian_rasterization import RasterOutput, painter, rasterize
from diff_gaussian_rasterization.budget import BUDGET
from torch import Tensor

from scene.cameras import Camera
from scene.gaussian_model import Gaussians
from utils.errors import InputError


@dataclass(frozen=True)
class Render:
    """One drawn view."""

    image: Tensor  # (C, H, W)
    alpha: Tensor  # (1, H, W) coverage in [0, 1]
    summed_depth: Tensor  # (1, H, W) sum of weight times camera z; world units
    radii: Tensor  # (N,) pixels, 0 = not drawn
    means2d: (
        Tensor | None
    )  # (N, 3); after backward its gradient is d loss / d place on screen (NDC)
    gaussians: Gaussians
    camera: Camera
    antialiased: bool

    @property
    def depth(self) -> Tensor:
        """(1, H, W) expected camera z where something was drawn, else 0; world units."""
        return self.summed_depth / self.alpha.clamp(min=1e-6)


def render(
    camera: Camera, gaussians: Gaussians, background: Tensor, *, antialiased: bool = False
) -> Render:
    """Draw Gaussians in front of a colour (C,) or a picture (C, H, W).

    Differentiable in every field of `gaussians`. antialiased: what is smaller than a pixel gets
    fainter as it shrinks; otherwise it stays a dot of 0.3 square pixels and of its opacity.
    """
    means2d = torch.zeros_like(gaussians.means, requires_grad=torch.is_grad_enabled())
    size = {"width": camera.width, "height": camera.height}
    inputs = _inputs(camera, gaussians, background, antialiased)
    out = rasterize(**inputs, **size, means2d=means2d)
    return _finished(out, gaussians, background, means2d, camera, antialiased)


def weights(camera: Camera, gaussians: Gaussians, *, antialiased: bool = False) -> Tensor:
    """(N,) how much of the view each row makes up, in pixels: the sum of its blending weights
    (Kerbl et al. 2023, eq. 3).

    It is what the picture's sum gains when a row's colour gains one: the gradient to that colour.
    """
    with torch.enable_grad():
        colors = torch.ones_like(gaussians.opacities).requires_grad_()
        white = replace(gaussians, sh=None, colors=colors, sh_degree=0)
        inputs = _inputs(camera, white, colors.new_zeros(1), antialiased)
        out = rasterize(**inputs, width=camera.width, height=camera.height)
        (found,) = torch.autograd.grad(out.color.sum(), colors)
    return found[:, 0]


def narrower(camera: Camera, gaussians: Gaussians, width: float) -> Tensor:
    """(N,) which rows have a standard deviation along their longest axis of less than `width`
    pixels of the view, as if they stood in the middle; none that is not in front of the camera."""
    pixel = width / camera.K[0, 0]  # at depth 1
    return gaussians.scales.amax(1) < pixel * camera.depths(gaussians.means)


def heaviest(weight: Tensor, share: float) -> Tensor:
    """(N,) bool, all rows but the `share` that weigh least; at least one."""
    keep = torch.ones_like(weight, dtype=torch.bool)
    dropped = min(int(share * len(weight)), len(weight) - 1)
    keep[weight.argsort(stable=True)[:dropped]] = False
    return keep


class Painter:
    """Draws view after view as `render` does, to the bit, without gradients, in memory that is
    kept.

    A view (its image, alpha and radii) is valid until the next one of its size is drawn.
    """

    def __init__(self) -> None:
        self._painters: dict[tuple[int, int, int], painter.Painter] = {}

    @torch.no_grad()
    def __call__(
        self, camera: Camera, gaussians: Gaussians, background: Tensor, *, antialiased: bool = False
    ) -> Render:
        """As `render`; `means2d` is None."""
        channels = 3 if gaussians.colors is None else gaussians.colors.shape[1]
        size = (camera.width, camera.height, channels)
        if size not in self._painters:
            self._painters[size] = painter.Painter(*size)
        out = self._painters[size].paint(**_inputs(camera, gaussians, background, antialiased))
        return _finished(out, gaussians, background, None, camera, antialiased)


def pair_budget(device: torch.device) -> int:
    """Bytes that the pairs of tiles and Gaussians of one view may take; 0 = any number.

    Raises InputError where the environment variable that sets it holds no number of bytes.
    """
    try:
        return BUDGET.bytes_on(device)
    except ValueError as error:
        raise InputError(str(error)) from None


def _inputs(
    camera: Camera, gaussians: Gaussians, background: Tensor, antialiased: bool
) -> dict[str, object]:
    """What the rasterizer is given. It knows colours; a picture is put behind by `_finished`."""
    return {
        "means": gaussians.means,
        "quats": gaussians.quats,
        "scales": gaussians.scales,
        "opacities": gaussians.opacities,
        "sh": gaussians.sh,
        "colors": gaussians.colors,
        "sh_degree": gaussians.sh_degree,
        "viewmat": camera.viewmat,
        "K": camera.K,
        "near": camera.near,
        "far": camera.far,
        "background": background if background.ndim == 1 else None,
        "antialiased": antialiased,
    }


def _finished(
    out: RasterOutput,
    gaussians: Gaussians,
    background: Tensor,
    means2d: Tensor | None,
    camera: Camera,
    antialiased: bool,
) -> Render:
    image = out.color if background.ndim == 1 else out.color + (1 - out.alpha) * background
    return Render(image, out.alpha, out.depth, out.radii, means2d, gaussians, camera, antialiased)
