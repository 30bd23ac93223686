"""A cloud of points whose every moment is a combination of a few learned clouds (Neural Parametric
Gaussians, Das et al., CVPR 2024, section 3.1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, linear, normalize

PUBLISHED_SPREAD = 0.01  # of all weights of the published network at the start
START_SPREAD = 0.2  # of the points at the start, in units of the cloud
AFFINE = 13  # shapes of ours that are the cloud itself, its shifts and its linear maps
LEAST_WAY = 0.02  # of the greatest spread of a coefficient: a smaller one is not made up to it
NO_WAY = 1e-4  # a spread that says nothing
FINEST = 6.0  # radians per unit: of the waves that the other shapes start as


class Residual(nn.Module):
    """Two narrow layers and one back, added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = max(width // 4, 1)
        self.layers = nn.ModuleList(
            [nn.Linear(width, narrow), nn.Linear(narrow, narrow), nn.Linear(narrow, width)]
        )

    def forward(self, x: Tensor) -> Tensor:
        first, second, last = self.layers
        return leaky_relu(last(leaky_relu(second(leaky_relu(first(x))))) + x)


class PointBasis(nn.Module):
    """P(t) = sum over k of c_k(t) B_k: `shapes` (K, 3, N) are learned, a network of the time says
    the coefficients c. There is no mean shape beside them.

    A point is in units of the cloud, whose origin is where all coefficients are zero.
    """

    def __init__(
        self,
        n_points: int,
        n_shapes: int,
        *,
        octaves: int,
        width: int,
        depth: int,
        source: torch.Generator,
        published: bool = False,
    ) -> None:
        """`published`: shapes are noise and the network hardly anything, so that all points start
        in one place; otherwise the first shape is a ball of points, and those after it move it as
        a whole, then linearly, then in waves."""
        super().__init__()
        self.octaves = octaves
        self.first = nn.Linear(1 + 2 * octaves, width)
        self.blocks = nn.ModuleList([Residual(width) for _ in range(depth)])
        self.head = nn.Linear(width, n_shapes)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                spread = PUBLISHED_SPREAD if published else math.sqrt(2 / layer.in_features)
                nn.init.normal_(layer.weight, std=spread, generator=source)
                nn.init.zeros_(layer.bias)
        if not published:
            for block in self.blocks:  # each is the identity at first
                nn.init.zeros_(block.layers[-1].weight)
            nn.init.zeros_(self.head.weight)
            with torch.no_grad():
                self.head.bias[0] = 1.0
        shapes = (
            _noise(n_points, n_shapes, source) if published else _waves(n_points, n_shapes, source)
        )
        self.shapes = nn.Parameter(shapes)

    def coefficients(self, times: Tensor) -> Tensor:
        """(T, K) of times (T,), in double precision, as is what they are multiplied with: sums over
        thousands of points are then the same numbers, once rounded, for any number of threads."""
        angles = times[:, None] * 2.0 ** torch.arange(self.octaves, device=times.device)
        x = torch.cat([times[:, None], angles.sin(), angles.cos()], dim=1)
        x = leaky_relu(self.first(x))
        for block in self.blocks:
            x = block(x)
        return linear(x.double(), self.head.weight.double(), self.head.bias.double())

    def forward(self, times: Tensor) -> Tensor:
        """(T, N, 3) points at times (T,), in units of the cloud."""
        found = self.coefficients(times) @ self.shapes.flatten(1).double()
        return found.to(self.shapes).unflatten(1, (3, -1)).mT

    @torch.no_grad()
    def straighten(self, times: Tensor, spread: float) -> None:
        """The same clouds at times (T,) by other shapes: their mean, whose coefficient is 1, then
        the principal ways in which they move, whose coefficients have standard deviation `spread`
        where the clouds move in so many ways. The least way is lost. There are K times or more.

        Adam moves all shapes alike; so what a step moves no longer depends on how small the
        coefficients were that a motion was found with.
        """
        found = self.coefficients(times)  # (T, K)
        mean, count = found.mean(0), found.shape[1] - 1
        _, sizes, ways = torch.linalg.svd(found - mean, full_matrices=False)
        sizes, ways = sizes[:count] / len(times) ** 0.5, ways[:count]
        gains = (spread / sizes.clamp(min=max(LEAST_WAY * float(sizes[0]), NO_WAY)))[:, None]
        told = torch.cat([mean[None], ways / gains])  # (K, K): new shapes, of the old ones
        self.shapes.copy_((told @ self.shapes.double().flatten(1)).view_as(self.shapes))
        weight, bias = self.head.weight.double(), self.head.bias.double()
        told = gains * ways  # (K - 1, K): new coefficients, of the old ones
        self.head.weight.copy_(torch.cat([torch.zeros_like(weight[:1]), told @ weight]))
        self.head.bias.copy_(torch.cat([torch.ones_like(bias[:1]), told @ (bias - mean)]))


def _noise(n_points: int, n_shapes: int, source: torch.Generator) -> Tensor:
    """Published: every coordinate of a point is a unit vector over the shapes."""
    return normalize(torch.randn(n_shapes, 3, n_points, generator=source), dim=0)


def _waves(n_points: int, n_shapes: int, source: torch.Generator) -> Tensor:
    """The points themselves, then ways to move them that are the smoother the earlier they come."""
    rest = START_SPREAD * torch.randn(3, n_points, generator=source)
    shapes = torch.zeros(max(n_shapes, AFFINE), 3, n_points)
    shapes[0] = rest
    for axis in range(3):
        shapes[1 + axis, axis] = 1.0
        shapes[4 + 3 * axis : 7 + 3 * axis, axis] = rest
    n_waves = len(shapes) - AFFINE
    growing = torch.linspace(1.0, FINEST, max(n_waves, 1))[:n_waves, None]
    waves = growing * normalize(torch.randn(n_waves, 3, generator=source), dim=1)
    phases = 2 * math.pi * torch.rand(n_waves, 1, generator=source)
    ways = normalize(torch.randn(n_waves, 3, generator=source), dim=1)
    shapes[AFFINE:] = ways[:, :, None] * torch.cos(waves @ rest / START_SPREAD + phases)[:, None]
    return shapes[:n_shapes]
