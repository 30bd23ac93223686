"""Three planes read at learned rotated copies of every point (GaussianHead, Wang et al. 2023,
"learnable Gaussian derivation"): copies far apart are independent samples of one small field."""

from __future__ import annotations

import math

import torch
from fused_fields import TRIPLANE_PAIRS, copy_features, turn_copies
from torch import Tensor, nn

from utils.rotations import quats_to_matrices


class TriPlane(nn.Module):
    """Features of points: copy t of a point reads channel group t of the planes, and the features
    of the groups stand side by side.

    A plane over the axes (a, b) is stored (n_b, n_a, channels of a group) and starts uniform in
    [0.1, 0.5]; a feature is the product of its three bilinear samples. The planes span the cube
    [-1, 1]^3; what a rotation carries out of it reads the border.
    """

    def __init__(
        self, *, resolution: int, channels: int, n_copies: int, last_group_only: bool = False
    ) -> None:
        """`channels` of all groups together. `last_group_only` is a parity setting."""
        super().__init__()
        if channels % n_copies:
            raise ValueError(
                f"{channels} channels cannot be shared by {n_copies} copies; expected a multiple"
            )
        self.n_features, self.last_group_only = channels, last_group_only
        size = (resolution, resolution, channels // n_copies)
        self.groups = nn.ModuleList(
            nn.ParameterList(
                nn.Parameter(torch.empty(size).uniform_(0.1, 0.5)) for _ in TRIPLANE_PAIRS
            )
            for _ in range(n_copies)
        )

    def forward(self, copies: Tensor) -> Tensor:
        """Copies (N, T, 3) of N points to features (N, n_features)."""
        # parity: the published code takes the number of copies for the group's index
        groups = [self.groups[-1]] * len(self.groups) if self.last_group_only else self.groups
        return copy_features([list(group) for group in groups], copies.transpose(0, 1))


def places(
    points: Tensor, quats: Tensor, *, by_columns: bool = False, unscaled: bool = False
) -> Tensor:
    """Points (N, 3) to the places (N, T, 3) of their copies, turned by quaternions (N, T, 4).

    `by_columns` and `unscaled` are parity settings: `column_scaled`, `unscaled_matrices`.
    """
    if not (by_columns or unscaled):
        return rotated(points, quats)
    matrices = unscaled_matrices(quats) if unscaled else quats_to_matrices(quats)
    if by_columns:
        return column_scaled(points, matrices)
    return (matrices @ points[:, None, :, None])[..., 0]


def rotated(points: Tensor, quats: Tensor) -> Tensor:
    """Points (N, 3), each turned by its T quaternions (N, T, 4) of any length: (N, T, 3)."""
    return turn_copies(points, quats).transpose(0, 1)


def column_scaled(points: Tensor, matrices: Tensor) -> Tensor:
    """parity: (N, 3) and (N, T, 3, 3) to (N, T, 3): every axis of a point times the sum of the
    matrix's column, which the published code takes for a matrix product."""
    return points[:, None] * matrices.sum(dim=-2)


def unscaled_matrices(quats: Tensor) -> Tensor:
    """parity: (..., 4) to (..., 3, 3) by the published formula, right for unit quaternions alone:
    its products are of q * sqrt(2 / |q|) where they ought to be of q * sqrt(2) / |q|."""
    lengths = quats.norm(dim=-1)[..., None, None]
    eye = torch.eye(3, device=quats.device, dtype=quats.dtype)
    return eye + lengths * (quats_to_matrices(quats) - eye)


def drawn_rotations(count: int, source: torch.Generator, *, whole_turn: bool = True) -> Tensor:
    """(count, 4) wxyz, uniform over all rotations (Shoemake 1992).

    parity: without `whole_turn` angles stop at one radian, as the published code leaves out 2 pi.
    """
    u, v, w = torch.rand(3, count, generator=source)
    v, w = (angle * (2 * math.pi if whole_turn else 1.0) for angle in (v, w))
    a, b = (1 - u).sqrt(), u.sqrt()
    return torch.stack([a * v.sin(), a * v.cos(), b * w.sin(), b * w.cos()], dim=1)
