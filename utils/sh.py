"""Real spherical harmonics as 3DGS has them (Condon-Shortley phase, lowest order first)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

C0 = 0.5 / math.sqrt(math.pi)


def rgb_to_sh(rgb: Tensor) -> Tensor:
    """Colours in [0, 1] to degree-0 coefficients; the rasterizer adds 0.5 back."""
    return (rgb - 0.5) / C0


def sh_basis(directions: Tensor, degree: int) -> Tensor:
    """(N, (degree + 1)²) values at unit directions (N, 3), degree 0 to 3.

    By the associated Legendre functions and multiples of the azimuth, which holds for any degree:
    exact but slow, for what is computed once.
    """
    x, y, z = directions.unbind(-1)
    rows, flat = [], torch.complex(x, y)  # sin(polar) e^(i azimuth)
    for l in range(degree + 1):  # noqa: E741  (the letter of the field)
        row = {}
        for m in range(l + 1):
            norm = math.sqrt(
                (2 * l + 1) / (4 * math.pi) * math.factorial(l - m) / math.factorial(l + m)
            )
            around = flat**m * norm * _legendre(l, m, z) * (math.sqrt(2) if m else 1)
            row[-m], row[m] = around.imag, around.real
        rows += [row[m] for m in range(-l, l + 1)]
    return torch.stack(rows, dim=-1)


def _legendre(l: int, m: int, z: Tensor) -> Tensor:  # noqa: E741
    """P_l^m(z) / sin^m, with the phase (-1)^m: by the recurrence in l."""
    before, here = torch.zeros_like(z), torch.ones_like(z) * (-1) ** m
    here = here * math.prod(range(1, 2 * m, 2))
    for k in range(m + 1, l + 1):
        before, here = here, ((2 * k - 1) * z * here - (k + m - 1) * before) / (k - m)
    return here
