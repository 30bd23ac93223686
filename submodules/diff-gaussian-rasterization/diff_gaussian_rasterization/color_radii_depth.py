"""(color, radii, depth): the form of the depth forks, such as those of 4DGaussians and SplaTAM."""

from diff_gaussian_rasterization import dropin
from diff_gaussian_rasterization.dropin import GaussianRasterizationSettings

__all__ = ["GaussianRasterizationSettings", "GaussianRasterizer"]


class GaussianRasterizer(dropin.GaussianRasterizer):
    """`forward` returns color "C H W", radii "N" int32, depth "1 H W" (sum of w_i z_i)."""

    returns = ("color", "radii", "depth")
