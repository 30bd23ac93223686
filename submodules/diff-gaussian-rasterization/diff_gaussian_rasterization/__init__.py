"""Differentiable rasterizer for 3D Gaussians: the typed `rasterize`, and the classes 3DGS code calls."""

from diff_gaussian_rasterization.native import choose_instruction_set, instruction_set
from diff_gaussian_rasterization.typed import RasterOutput, rasterize

__all__ = [
    "RasterOutput",
    "choose_instruction_set",
    "instruction_set",
    "rasterize",
]
