"""Draw triangles into a buffer of samples: which triangle each sample sees, and where on it.

The demo head's own renderer. It shares nothing with the Gaussian rasterizer that it will judge.
Cameras are those of scene/cameras.py: OpenCV axes, pixel centres at .5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
EDGE_SLACK = 1e-9  # of a triangle: a sample on a shared edge belongs to both, never to none


@dataclass(frozen=True)
class Hits:
    """The S samples that see a triangle, each the nearest one."""

    samples: NDArray[np.int64]  # (S,) row * width + column
    faces: NDArray[np.int64]  # (S,)
    weights: Array  # (S, 3) of the triangle's corners, perspective-correct, rows sum to 1
    front: NDArray[np.bool_]  # (S,) whether the triangle's outside is seen

    def where(self, chosen: NDArray[np.bool_]) -> Hits:
        """Those of the samples that are `chosen` (S,)."""
        return Hits(*(values[chosen] for values in vars(self).values()))

    def interpolate(self, values: Array, faces: NDArray[np.int64]) -> Array:
        """The `values` (V, C) of the vertices at the samples, (S, C)."""
        corners = values[faces[self.faces]]
        return np.einsum("sk,skc->sc", self.weights, corners)


def visible(vertices: Array, faces: NDArray[np.int64], viewmat: Array, K: Array, size: int) -> Hits:
    """What a grid of `size` x `size` samples over the picture sees.

    Args:
        vertices: (V, 3) world; all must be in front of the camera.
        faces: (F, 3), counter-clockwise from outside.
        viewmat: (4, 4) world to camera.
        K: (3, 3), in samples: the picture is `size` wide and high.
    """
    local = vertices @ viewmat[:3, :3].T + viewmat[:3, 3]
    screen = local @ K.T
    corners = (screen[:, :2] / screen[:, 2:])[faces]  # (F, 3, 2)
    edges, area = _edges(corners)
    count, x, y = _candidates(corners, area, size)
    weights, inside = np.empty((3, len(x))), np.ones(len(x), bool)
    for weight, edge in zip(weights, edges.transpose(1, 2, 0), strict=True):
        a, b, c = (np.repeat(term, count) for term in edge)
        weight[:] = a * x + b * y + c
        inside &= weight >= -EDGE_SLACK
    triangle = np.repeat(np.arange(len(faces)), count)[inside]
    weights = weights[:, inside]
    samples = y[inside].astype(np.int64) * size + x[inside].astype(np.int64)
    # 1 / z is linear on the screen, which z is not.
    weights *= (1 / local[:, 2])[faces.T][:, triangle]
    nearness = weights[0] + weights[1] + weights[2]
    nearest = np.zeros(size * size)
    np.maximum.at(nearest, samples, nearness)
    winner = np.full(size * size, len(faces))
    won = np.flatnonzero(nearness == nearest[samples])
    np.minimum.at(winner, samples[won], triangle[won])  # of equally near ones the first
    kept = won[triangle[won] == winner[samples[won]]]
    weights = (weights[:, kept] / nearness[kept]).T
    return Hits(samples[kept], triangle[kept], weights, area[triangle[kept]] < 0)


def _edges(corners: Array) -> tuple[Array, Array]:
    """Barycentric weights as functions a x + b y + c of the screen, (F, 3, 3), and areas (F,).

    The area is negative where the outside faces the camera: rows run downwards.
    """
    following, last = corners[:, [1, 2, 0]], corners[:, [2, 0, 1]]
    slope = np.stack((following[..., 1] - last[..., 1], last[..., 0] - following[..., 0]), -1)
    offset = following[..., 0] * last[..., 1] - last[..., 0] * following[..., 1]
    area = offset.sum(1)
    edges = np.concatenate((slope, offset[..., None]), -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return edges / area[:, None, None], area


def _candidates(corners: Array, area: Array, size: int) -> tuple[NDArray[np.int64], Array, Array]:
    """How many sample centres lie in each triangle's box, and x and y of them all."""
    low = np.clip(np.ceil(corners.min(1) - 0.5), 0, size).astype(np.int64)
    high = np.clip(np.floor(corners.max(1) - 0.5) + 1, 0, size).astype(np.int64)
    shape = np.maximum(high - low, 0)
    shape[np.abs(area) < 1e-12] = 0
    count = shape.prod(1)
    place = np.arange(count.sum(), dtype=float) - np.repeat(np.cumsum(count) - count, count)
    width = np.repeat(shape[:, 0].astype(float), count)
    row = np.floor((place + 0.5) / width)
    x, y = (np.repeat(side + 0.5, count) for side in low.T)
    return count, x + (place - row * width), y + row


def vertex_normals(vertices: Array, faces: NDArray[np.int64]) -> Array:
    """Unit normals (V, 3): the mean of the triangles around, weighed by their areas."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    normal = np.repeat(np.cross(b - a, c - a), 3, 0)
    corner = faces.ravel()
    total = [np.bincount(corner, normal[:, i], len(vertices)) for i in range(3)]
    return unit(np.stack(total, 1))


def unit(vectors: Array) -> Array:
    """Vectors "... 3" of length 1; those of length 0 stay."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(length, 1e-12)
