"""(color, radii, invdepth): the form of 3DGS since October 2024, for its depth regularisation."""

from __future__ import annotations

from torch import Tensor

from diff_gaussian_rasterization import attributes, dropin
from diff_gaussian_rasterization.dropin import GaussianRasterizationSettings
from diff_gaussian_rasterization.layout import Inputs

__all__ = ["GaussianRasterizationSettings", "GaussianRasterizer"]


class GaussianRasterizer(dropin.GaussianRasterizer):
    """`forward` returns color "C H W", radii "N" int32, invdepth "1 H W" (sum of w_i / z_i)."""

    def form(self, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        values = attributes.inverse_depths(inputs.means, inputs.viewmat, inputs.near)
        out, invdepth = dropin.draw_beside(inputs, values)
        return out.color, out.radii, invdepth
