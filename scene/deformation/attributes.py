"""What a point looks like, told by a network of its place (MonoGaussianAvatar, Chen et al.
2024)."""

from __future__ import annotations

import math

import torch
from fused_fields import encode
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.nn.utils.parametrizations import weight_norm

from utils.sh import rgb_to_sh

HEADS = {"color": 3, "scale": 3, "quat": 4, "opacity": 1}
COLUMNS = {"color": "sh_dc", "scale": "log_scales", "quat": "quats", "opacity": "opacity_logits"}
SMOOTH = 100.0  # of the softplus, as published
LARGEST = 0.025  # unit of a scale, before the radius (published)
# Published, of 100 epochs: the radius that is added to every scale, and from which part of a run it
# is multiplied by what.
RADIUS = 0.084375
SHRINKS = [(k / 100, 0.75) for k in (5, 10, 15, 20, 25, 30, 40, 50)] + [(0.6, 0.9)]
SHRINKS += [(k / 100, 0.75) for k in range(65, 101, 5)]
INNER = 0.6  # bias of the last layer, the radius of the sphere that it starts as


class AttributeNet(nn.Module):
    """Encoded places in; raw colour, scale, quaternion and opacity out, each from a head of its
    own.

    Weight-normalised layers, of which the middle one reads the input again, start as the distance
    to a sphere (Atzmon and Lipman, "SAL", CVPR 2020).
    """

    def __init__(self, *, width: int, depth: int, octaves: int) -> None:
        """`depth` is at least 3."""
        super().__init__()
        self.octaves, self.skip = octaves, depth // 2
        inputs = 3 + 6 * octaves
        layers = []
        for k in range(depth):
            reads = inputs if k == 0 else width
            gives = width - inputs if k == self.skip - 1 else width
            layers.append(self._sphere(nn.Linear(reads, gives), k, k == depth - 1))
        self.layers = nn.ModuleList(weight_norm(layer) for layer in layers)
        self.heads = nn.ModuleDict({name: _head(width, size) for name, size in HEADS.items()})

    def _sphere(self, layer: nn.Linear, k: int, last: bool) -> nn.Linear:
        n_encoded = 6 * self.octaves
        nn.init.zeros_(layer.bias)
        if last:
            nn.init.normal_(layer.weight, math.sqrt(math.pi / layer.in_features), 1e-4)
            nn.init.constant_(layer.bias, -INNER)
        else:
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2 / layer.out_features))
            if k in (0, self.skip) and n_encoded:
                nn.init.zeros_(layer.weight[:, -n_encoded:])
        return layer

    def forward(self, points: Tensor) -> dict[str, Tensor]:
        """Points (N, 3) of unit size to `HEADS` under the names of the columns that `as_columns`
        makes of them, none activated. No gradient reaches the points."""
        inputs = encode(points.detach(), self.octaves)
        features = inputs
        for k, layer in enumerate(self.layers):
            if k == self.skip:
                features = torch.cat([features, inputs], 1) / math.sqrt(2)
            features = softplus(layer(features), SMOOTH)
        raw = {COLUMNS[name]: head(features) for name, head in self.heads.items()}
        return raw | {"sh_dc": raw["sh_dc"][:, None]}


def radius(part: float) -> float:
    """What is added to every scale when `part` of a run is done, in `unit`."""
    return RADIUS * math.prod(factor for at, factor in SHRINKS if part >= at)


def as_columns(
    raw: dict[str, Tensor], radius: float, unit: float, *, reference_rotation: bool
) -> dict[str, Tensor]:
    """Columns for `activate` of what the network says, or that corrected; `unit` in world units."""
    columns = raw | {
        "log_scales": (unit * (LARGEST * raw["log_scales"].sigmoid() + radius)).log(),
        "sh_dc": rgb_to_sh(raw["sh_dc"].sigmoid()),
    }
    if reference_rotation:
        # parity: a rasterizer that is given quaternions as short as these hardly turns at all
        quats = nn.functional.normalize(raw["quats"], dim=0)
        ones = torch.ones_like(quats[:, :1])
        columns["quats"] = torch.cat([ones, quats[:, :1] * quats[:, 1:]], 1)
    return columns


def _head(width: int, size: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.Softplus(SMOOTH), nn.Linear(width, size))
