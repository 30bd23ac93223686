"""(color, radii, depth): the form of the depth forks, such as those of 4DGaussians and SplaTAM."""

from __future__ import annotations

from torch import Tensor

from diff_gaussian_rasterization import dropin
from diff_gaussian_rasterization.dropin import GaussianRasterizationSettings
from diff_gaussian_rasterization.layout import Inputs
from diff_gaussian_rasterization.typed import rasterize

__all__ = ["GaussianRasterizationSettings", "GaussianRasterizer"]


class GaussianRasterizer(dropin.GaussianRasterizer):
    """`forward` returns color "C H W", radii "N" int32, depth "1 H W" (sum of w_i z_i)."""

    def form(self, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        out = rasterize(**inputs._asdict())
        return out.color, out.radii, out.depth
