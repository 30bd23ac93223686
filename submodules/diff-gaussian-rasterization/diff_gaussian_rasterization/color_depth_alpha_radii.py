"""(color, depth, alpha, radii): the first form of `diff_gauss`, which EasyVolcap calls."""

from diff_gaussian_rasterization import dropin
from diff_gaussian_rasterization.dropin import GaussianRasterizationSettings

__all__ = ["GaussianRasterizationSettings", "GaussianRasterizer"]


class GaussianRasterizer(dropin.GaussianRasterizer):
    """`forward` returns color "C H W", depth (sum of w_i z_i), alpha "1 H W", radii "N" int32."""

    returns = ("color", "depth", "alpha", "radii")
