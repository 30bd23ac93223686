"""(color, depth, alpha, radii): the first form of `diff_gauss`, which EasyVolcap calls."""

from __future__ import annotations

from torch import Tensor

from diff_gaussian_rasterization import dropin
from diff_gaussian_rasterization.dropin import GaussianRasterizationSettings
from diff_gaussian_rasterization.layout import Inputs
from diff_gaussian_rasterization.typed import rasterize

__all__ = ["GaussianRasterizationSettings", "GaussianRasterizer"]


class GaussianRasterizer(dropin.GaussianRasterizer):
    """`forward` returns color "C H W", depth (sum of w_i z_i), alpha "1 H W", radii "N" int32."""

    def form(self, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        out = rasterize(**inputs._asdict())
        return out.color, out.depth, out.alpha, out.radii
