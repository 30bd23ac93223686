"""What a head model says at any point in space: bases and skinning weights of the nearest surface.

MonoGaussianAvatar (Chen et al. 2024) draws its learned blendshapes and weights towards these.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scene.head.model import HeadModel

CHUNK = 4096  # points at a time, to bound the table of distances
CANDIDATES = 4  # vertices whose triangles are tried


@dataclass(frozen=True)
class Attachment:
    """Points tied to vertices; K is 1 (nearest vertex) or 3 (corners of the nearest triangle)."""

    vertices: Tensor  # (N, K) int64
    weights: Tensor  # (N, K), rows sum to 1
    distance: Tensor  # (N,), units of the vertices

    def interpolate(self, values: Tensor) -> Tensor:
        """The `values` "V ..." of the vertices at the points, "N ..."."""
        weights = self.weights.reshape(*self.weights.shape, *[1] * (values.ndim - 1))
        return (values[self.vertices] * weights).sum(1)


@dataclass(frozen=True)
class PointBases:
    """A head model's quantities at N points."""

    expression_basis: Tensor  # (N, 3, E)
    pose_basis: Tensor  # (N, 3, 36)
    skin_weights: Tensor  # (N, 5), rows sum to 1


def point_bases(model: HeadModel, attachment: Attachment) -> PointBases:
    """The model's expression basis, pose basis and skinning weights at the attached points."""
    return PointBases(
        attachment.interpolate(model.expression_basis),
        attachment.interpolate(model.pose_basis),
        attachment.interpolate(model.skin_weights),
    )


def on_surface(vertices: Tensor, faces: Tensor, count: int, source: torch.Generator) -> Attachment:
    """`count` random points, uniform over the area of a mesh (V, 3), (F, 3)."""
    corners = vertices[faces]
    sides = corners[:, 1:] - corners[:, :1]
    areas = torch.linalg.cross(sides[:, 0], sides[:, 1]).norm(dim=1)
    chosen = torch.multinomial(areas, count, replacement=True, generator=source)
    u, v = torch.rand(2, count, generator=source)
    u = u.sqrt()  # uniform in a triangle (Turk, Graphics Gems, 1990)
    weights = torch.stack([1 - u, u * (1 - v), u * v], dim=1)
    return Attachment(faces[chosen], weights, torch.zeros(count))


@torch.no_grad()
def nearest_vertex(points: Tensor, vertices: Tensor) -> Attachment:
    """Attach `points` (N, 3) to the nearest of `vertices` (V, 3) each."""
    distance, nearest = _nearest(points, vertices, 1)
    return Attachment(nearest, torch.ones_like(distance), distance[:, 0])


@torch.no_grad()
def nearest_surface(points: Tensor, vertices: Tensor, faces: Tensor) -> Attachment:
    """Attach `points` (N, 3) to the nearest point of the triangles `faces` (F, 3).

    Tried are the triangles around the four nearest vertices: exact on meshes whose triangles are
    of a size, and never worse than the nearest vertex.
    """
    _, nearest = _nearest(points, vertices, min(CANDIDATES, len(vertices)))
    around = _faces_around(faces, len(vertices))
    best = points.new_full((len(points),), torch.inf)
    corners, weights = faces.new_zeros(len(points), 3), points.new_zeros(len(points), 3)
    corners[:], weights[:, 0] = nearest[:, :1], 1  # a vertex without a triangle keeps itself
    for candidate in around[nearest].flatten(1).T:
        tried = faces[candidate.clamp_min(0)]
        barycentric = closest_barycentric(points, vertices[tried])
        offset = (vertices[tried] * barycentric[..., None]).sum(1) - points
        distance = offset.norm(dim=-1).where(candidate >= 0, torch.inf)
        closer = distance < best
        best = torch.where(closer, distance, best)
        corners = torch.where(closer[:, None], tried, corners)
        weights = torch.where(closer[:, None], barycentric, weights)
    alone = (vertices[nearest[:, 0]] - points).norm(dim=-1)
    return Attachment(corners, weights, torch.where(best.isinf(), alone, best))


def closest_barycentric(points: Tensor, triangles: Tensor) -> Tensor:
    """Weights (N, 3) of the point of each triangle (N, 3, 3) that is closest to its point (N, 3).

    The foot of the perpendicular where it lies inside, else the best of the three edges.
    """
    a, b, c = triangles.unbind(1)
    ab, ac, ap = b - a, c - a, points - a
    d00, d01, d11 = _dot(ab, ab), _dot(ab, ac), _dot(ac, ac)
    d20, d21 = _dot(ap, ab), _dot(ap, ac)
    area = (d00 * d11 - d01 * d01).clamp_min(torch.finfo(points.dtype).tiny)
    v, w = (d11 * d20 - d01 * d21) / area, (d00 * d21 - d01 * d20) / area
    foot = torch.stack((1 - v - w, v, w), -1)
    edges = torch.stack([_edge(points, triangles, i, (i + 1) % 3) for i in range(3)], 1)
    offsets = edges @ triangles - points[:, None]
    row = torch.arange(len(points), device=points.device)
    edge = edges[row, offsets.square().sum(-1).argmin(1)]
    return torch.where((foot.min(-1).values >= 0)[:, None], foot, edge)


def _edge(points: Tensor, triangles: Tensor, start: int, end: int) -> Tensor:
    along = triangles[:, end] - triangles[:, start]
    length = _dot(along, along).clamp_min(torch.finfo(points.dtype).tiny)
    t = (_dot(points - triangles[:, start], along) / length).clamp(0, 1)
    weights = points.new_zeros(len(points), 3)
    weights[:, start], weights[:, end] = 1 - t, t
    return weights


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1)


def _nearest(points: Tensor, vertices: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Distances and ids "N count" of the nearest vertices, nearest first."""
    found = [
        torch.cdist(part, vertices, compute_mode="donot_use_mm_for_euclid_dist").topk(
            count, largest=False
        )
        for part in points.split(CHUNK)
    ]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def _faces_around(faces: Tensor, n_vertices: int) -> Tensor:
    """Triangles (V, M) at each vertex, padded with -1."""
    corner, order = faces.flatten().sort(stable=True)
    counts = torch.bincount(corner, minlength=n_vertices)
    slot = torch.arange(len(corner), device=faces.device) - (counts.cumsum(0) - counts)[corner]
    table = faces.new_full((n_vertices, int(counts.max())), -1)
    table[corner, slot] = order // 3
    return table
