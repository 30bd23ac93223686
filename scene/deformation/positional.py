"""A deformation MLP on encoded positions and a condition (encoding as in Mildenhall et al., "NeRF",
2020; layers as in GaussianHead, Wang et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping

from fused_fields import encode, offset_mlp
from torch import Tensor, nn


class PositionalMLP(nn.Module):
    """Encoded position and one code for all points in, offsets of every head out.

    `depth` layers of `width` with a ReLU after each; the input enters once more past the middle. A
    head is one linear layer, zero at first, so that an untrained deformation is the identity.
    """

    def __init__(
        self,
        *,
        octaves: int,
        code_width: int,
        width: int,
        depth: int,
        heads: Mapping[str, int],
        bf16: bool = False,
    ) -> None:
        """`depth` is at least 5; `heads` maps a name to the number of its offsets; `bf16`: see
        `fused_fields.offset_mlp`."""
        super().__init__()
        self.octaves, self.heads, self.bf16 = octaves, dict(heads), bf16
        inputs = 3 + 6 * octaves
        self.skip = depth // 2 + 1  # the layer that reads the input again
        reads = {0: inputs, self.skip: inputs + width}
        self.layers = nn.ModuleList(nn.Linear(reads.get(k, width), width) for k in range(depth))
        # One code for all points: its part of a layer that reads the input is one more bias.
        self.codes = nn.ModuleList(nn.Linear(code_width, width, bias=False) for _ in reads)
        self.out = nn.Linear(width, sum(heads.values()))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, points: Tensor, code: Tensor) -> dict[str, Tensor]:
        """Points (N, 3) of unit size and a code (code_width,) to one (N, size) offset per head.

        No gradient reaches the points: octaves of high frequency would shake them.
        """
        encoded = encode(points.detach(), self.octaves)
        layers = [(layer.weight, layer.bias) for layer in self.layers]
        for at, of_code in zip((0, self.skip), self.codes, strict=True):
            weight, bias = layers[at]
            layers[at] = (weight, bias + of_code(code))
        *trunk, hidden = layers
        out = (self.out.weight, self.out.bias)
        offsets = offset_mlp(
            encoded, trunk, hidden, [out], again=self.skip, bf16=self.bf16,
            parts=list(self.heads.values()),
        )  # fmt: skip
        return dict(zip(self.heads, offsets, strict=True))
