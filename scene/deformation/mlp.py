"""The deformation MLP: features of a point in, offsets of its Gaussian out."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from fused_fields import offset_mlp
from torch import Tensor, nn

# A fresh field's features are products of numbers near 0.3, some thirty times smaller than what
# layers are made for. Without this gain all points would look alike, or follow a code alike, for a
# long time.
FEATURE_GAIN = 30.0


class OffsetMLP(nn.Module):
    """A shared trunk and one head per deformed column (4DGS, section 4.2).

    The trunk is a Linear and `depth - 1` further ReLU-Linear pairs; a head is ReLU, Linear, ReLU,
    Linear. Output layers start at zero, so that an untrained deformation is the identity. `shared`:
    all heads have the first of their Linears in common, so that there is one of it. `bf16`: see
    `fused_fields.offset_mlp`.
    """

    def __init__(
        self,
        n_features: int,
        width: int,
        depth: int,
        heads: Mapping[str, int],
        code_width: int = 0,
        *,
        shared: bool = False,
        bf16: bool = False,
    ) -> None:
        super().__init__()
        self.width, self.shared, self.bf16 = width, shared, bf16
        sizes = [n_features] + [width] * max(depth, 1)
        self.trunk = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        # One code for all points, beside the features: its part of the first layer is one more
        # bias.
        self.code = nn.Linear(code_width, width, bias=False) if code_width else None
        # The first layers of all heads read the same input: one matrix product serves them all.
        blocks = min(len(heads), 1) if shared else len(heads)
        self.hidden = nn.Linear(width, width * blocks) if heads else None
        self.out = nn.ModuleDict({name: nn.Linear(width, size) for name, size in heads.items()})
        self._initialise()

    def _initialise(self) -> None:
        for layer in self.trunk:
            nn.init.xavier_uniform_(layer.weight)
        if self.code is not None:
            nn.init.xavier_uniform_(self.code.weight)
            with torch.no_grad():
                self.trunk[0].weight.mul_(FEATURE_GAIN)
        for block in self.hidden.weight.split(self.width) if self.hidden else ():
            nn.init.xavier_uniform_(block)
        for layer in self.out.values():
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor, code: Tensor | None = None) -> dict[str, Tensor]:
        """(N, n_features), and the code (code_width,) that all points share, to one (N, size)
        offset per head."""
        if self.hidden is None:
            return {}
        trunk = [(layer.weight, layer.bias) for layer in self.trunk]
        if self.code is not None:
            trunk[0] = (self.trunk[0].weight, self.trunk[0].bias + self.code(code))
        hidden = (self.hidden.weight, self.hidden.bias)
        weights, biases = zip(
            *((layer.weight, layer.bias) for layer in self.out.values()), strict=True
        )
        heads = list(zip(weights, biases, strict=True))
        parts: list[int] = []
        if self.shared:  # as one head of all outputs
            heads = [(torch.cat(weights), torch.cat(biases))]
            parts = [len(bias) for bias in biases]
        offsets = offset_mlp(features, trunk, hidden, heads, bf16=self.bf16, parts=parts)
        return dict(zip(self.out, offsets, strict=True))
