"""HexPlane: six planes over the pairs of (x, y, z, t) at several resolutions (Cao & Johnson,
"HexPlane", CVPR 2023; multiplied features as in Fridovich-Keil et al., "K-Planes", CVPR 2023);
without time, three."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from fused_fields import HEXPLANE_PAIRS, TRIPLANE_PAIRS, add_plane_penalties, plane_features
from torch import Tensor, nn

TIME = 3  # the axis after x, y, z


class HexPlane(nn.Module):
    """Features of points at a time: per level the product of six bilinear samples, levels side by
    side.

    A plane over the axes (a, b) is stored (n_b, n_a, channels). Spatial planes start uniform in
    [0.1, 0.5], time planes at 1, the neutral factor: a fresh field does not depend on time.
    """

    def __init__(
        self,
        low: Tensor,
        high: Tensor,
        *,
        resolution: Sequence[int],
        channels: int,
        multipliers: Sequence[int],
        in_time: bool = True,
        half_time: bool = False,
    ) -> None:
        """`low`, `high` (3,) bound the points; `resolution` is (x, y, z, t) of level 1, of which
        each multiplier scales the spatial part. `in_time` False leaves the three time planes out.
        `half_time` is the parity setting of 4DGS."""
        super().__init__()
        self.register_buffer("low", low.clone())
        self.register_buffer("high", high.clone())
        self.half_time = half_time
        self.pairs = HEXPLANE_PAIRS if in_time else TRIPLANE_PAIRS
        self.n_features = channels * len(multipliers)
        self.levels = nn.ModuleList(
            nn.ParameterList(self._plane(a, b, resolution, channels, factor) for a, b in self.pairs)
            for factor in multipliers
        )

    @staticmethod
    def _plane(
        a: int, b: int, resolution: Sequence[int], channels: int, factor: int
    ) -> nn.Parameter:
        size = [n if axis == TIME else n * factor for axis, n in enumerate(resolution)]
        plane = torch.empty(size[b], size[a], channels)
        return nn.Parameter(
            nn.init.ones_(plane) if b == TIME else nn.init.uniform_(plane, 0.1, 0.5)
        )

    def forward(self, means: Tensor, time: float) -> Tensor:
        """Points (N, 3) in world units at one time in [0, 1] to features (N, n_features)."""
        scale = 2 / (self.high - self.low)
        points = torch.addcmul(-1 - self.low * scale, means, scale)
        planes = [list(level.parameters()) for level in self.levels]
        if self.pairs == TRIPLANE_PAIRS:
            return plane_features(planes, points, pairs=TRIPLANE_PAIRS)
        # parity: 4DGS feeds t itself, so that rows of the first half of a time plane are never read
        along = time if self.half_time else 2 * time - 1
        return plane_features(planes, points, time=along)

    def pull_smooth(
        self, *, plane_smooth: float, time_smooth: float, time_l1: float, one_way: bool = False
    ) -> Tensor:
        """Weighted sum over all planes of second differences (space: along both axes; time planes:
        along time) and, for time planes, |1 - plane|. Its gradient is added to that of the planes,
        without autograd: to be called after the backward pass of all else.

        parity: `one_way` smooths spatial planes along their rows only, as 4DGS does.
        """
        in_space = (plane_smooth, 0.0 if one_way else plane_smooth, 0.0)
        in_time = (time_smooth, 0.0, time_l1)
        weights = [in_time if b == TIME else in_space for _, b in self.pairs] * len(self.levels)
        planes = list(self.parameters())
        for plane in planes:
            if plane.grad is None:
                plane.grad = torch.zeros_like(plane)
        return add_plane_penalties(planes, [plane.grad for plane in planes], weights)
