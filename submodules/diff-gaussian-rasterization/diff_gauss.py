"""The import name of slothfulxtx's fork: `from diff_gauss import GaussianRasterizer`."""

from diff_gaussian_rasterization.color_depth_normal_alpha_radii_extra import (
    GaussianRasterizationSettings,
    GaussianRasterizer,
)

__all__ = ["GaussianRasterizationSettings", "GaussianRasterizer"]
