"""(color, radii, depth, alpha): the form of the fork that DreamGaussian and LGM use."""

from __future__ import annotations

from torch import Tensor

from diff_gaussian_rasterization import dropin
from diff_gaussian_rasterization.dropin import GaussianRasterizationSettings
from diff_gaussian_rasterization.layout import Inputs
from diff_gaussian_rasterization.typed import rasterize

__all__ = ["GaussianRasterizationSettings", "GaussianRasterizer"]


class GaussianRasterizer(dropin.GaussianRasterizer):
    """`forward` returns color "C H W", radii "N" int32, depth (sum of w_i z_i), alpha "1 H W"."""

    def form(self, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        out = rasterize(**inputs._asdict())
        return out.color, out.radii, out.depth, out.alpha
