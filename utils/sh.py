"""Spherical harmonics of degree 0: the constant band that carries a Gaussian's mean colour."""

from __future__ import annotations

import math

from torch import Tensor

C0 = 0.5 / math.sqrt(math.pi)


def rgb_to_sh(rgb: Tensor) -> Tensor:
    """Colours in [0, 1] to degree-0 coefficients; the rasterizer adds 0.5 back."""
    return (rgb - 0.5) / C0
