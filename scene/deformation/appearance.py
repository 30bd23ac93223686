"""Opacity and colour of Gaussians decoded from features (GaussianHead, Wang et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from fused_fields import offset_mlp
from torch import Tensor, nn

from scene.deformation.mlp import FEATURE_GAIN


class AppearanceDecoder(nn.Module):
    """Features of a Gaussian and the direction it is seen from in, the raw columns of its look out.

    Two small perceptrons: the first gives the opacity logit and as many further features, the
    second, which also reads the direction, the spherical harmonics.
    """

    def __init__(
        self,
        n_features: int,
        width: int,
        sh_degree: int,
        *,
        from_zero: bool = True,
        linear_color: bool = False,
    ) -> None:
        """`from_zero`: opacity and colour begin at zero, to be added to something; otherwise they
        begin at random, as published. `linear_color` is a parity setting."""
        super().__init__()
        n_rest = 3 * ((sh_degree + 1) ** 2 - 1)
        hidden = 48  # as published: what both bands of the harmonics are read from
        self.shared = nn.Sequential(
            nn.Linear(n_features, width, bias=False), nn.Sigmoid(),
            nn.Linear(width, width, bias=False), nn.Sigmoid(),
        )  # fmt: skip
        with torch.no_grad():
            self.shared[0].weight.mul_(FEATURE_GAIN)
        self.opacity = nn.Linear(width, 1, bias=False)
        self.geometry = nn.Linear(width, n_features, bias=False)
        # parity: the published layers have nothing between them, so they are one linear map
        between = nn.Identity() if linear_color else nn.ReLU()
        self.color = nn.Sequential(
            nn.Linear(n_features + 3, width, bias=False),
            between,
            nn.Linear(width, hidden, bias=False),
        )
        self.dc = nn.Linear(hidden, 3)
        self.rest = nn.Linear(hidden, n_rest)
        # Each band begins at zero, as in 3DGS, when its turn comes; random ones would show at once.
        added = (self.opacity, self.dc) if from_zero else ()
        for layer in (self.rest, *added):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def forward(self, features: Tensor, directions: Tensor, bands: int) -> dict[str, Tensor]:
        """(N, n_features) and unit directions (N, 3), camera to Gaussian, to opacity_logits (N, 1),
        sh_dc (N, 1, 3) and sh_rest (N, bands - 1, 3): the first `bands` harmonics, of at most all,
        those that are drawn."""
        first, second = _layer(self.shared[0]), _layer(self.shared[2])
        last = torch.cat([self.opacity.weight, self.geometry.weight])
        logits, geometry = offset_mlp(
            features, [first], second, [(last, last.new_zeros(len(last)))], "sigmoid",
            parts=[1, len(self.geometry.weight)],
        )  # fmt: skip
        found = self._harmonics([geometry, directions], 3 * (bands - 1))
        dc, rest = (each.reshape(len(each), -1, 3) for each in found)
        return {"opacity_logits": logits, "sh_dc": dc, "sh_rest": rest}

    def _harmonics(self, inputs: list[Tensor], n_rest: int) -> Sequence[Tensor]:
        """(N, 3) and (N, n_rest), degree 0 and the first of the rest. Nothing stands between the
        layers behind the activation, so they are multiplied into one."""
        first, between, second = self.color
        weight = torch.cat([self.dc.weight, self.rest.weight[:n_rest]]) @ second.weight
        bias = torch.cat([self.dc.bias, self.rest.bias[:n_rest]])
        widths = [len(self.dc.bias), n_rest]
        if isinstance(between, nn.Identity):
            sh = nn.functional.linear(torch.cat(inputs, dim=1), weight @ first.weight, bias)
            return sh.split(widths, dim=1)
        return offset_mlp(inputs, [], _layer(first), [(weight, bias)], parts=widths)


def _layer(linear: nn.Linear) -> tuple[Tensor, Tensor]:
    """Weight and bias; zeros where it has none."""
    weight = linear.weight
    return weight, weight.new_zeros(len(weight)) if linear.bias is None else linear.bias
