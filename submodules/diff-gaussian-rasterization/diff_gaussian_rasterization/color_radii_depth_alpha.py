"""(color, radii, depth, alpha): the form of the fork that DreamGaussian and LGM use."""

from diff_gaussian_rasterization import dropin
from diff_gaussian_rasterization.dropin import GaussianRasterizationSettings

__all__ = ["GaussianRasterizationSettings", "GaussianRasterizer"]


class GaussianRasterizer(dropin.GaussianRasterizer):
    """`forward` returns color "C H W", radii "N" int32, depth (sum of w_i z_i), alpha "1 H W"."""

    returns = ("color", "radii", "depth", "alpha")
