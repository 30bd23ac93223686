"""Differentiable rasterizer for 3D Gaussians: typed `rasterize`, and the classes 3DGS code
calls."""

from diff_gaussian_rasterization.budget import OutOfMemoryError, set_pair_budget
from diff_gaussian_rasterization.choices import quaternions, returns
from diff_gaussian_rasterization.dropin import GaussianRasterizationSettings, GaussianRasterizer
from diff_gaussian_rasterization.native import choose_variant, variant
from diff_gaussian_rasterization.painter import Painter
from diff_gaussian_rasterization.typed import RasterOutput, rasterize

__all__ = [
    "GaussianRasterizationSettings",
    "GaussianRasterizer",
    "OutOfMemoryError",
    "Painter",
    "RasterOutput",
    "choose_variant",
    "quaternions",
    "rasterize",
    "returns",
    "set_pair_budget",
    "variant",
]
