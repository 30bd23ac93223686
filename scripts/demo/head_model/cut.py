"""The head cut out of a body: polygons clipped by a smooth surface, so that the rim is one ring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scripts.demo.head_model.source import Source

PARTS = {"helper-upper-teeth": "upper_teeth", "helper-lower-teeth": "lower_teeth",
         "helper-tongue": "tongue"}  # fmt: skip


@dataclass(frozen=True)
class Cut:
    """Triangles whose vertices are body vertices, or lie on the edge between two of them."""

    ends: np.ndarray  # (V, 2) body vertices
    share: np.ndarray  # (V,) of the second
    faces: np.ndarray  # (F, 3)
    uv: np.ndarray  # (T, 2) in the body's texture space
    uv_faces: np.ndarray  # (F, 3)
    parts: dict[str, np.ndarray]  # vertex ids: skin, upper_teeth, lower_teeth, tongue
    rim: np.ndarray  # vertex ids
    mirror: np.ndarray  # (V,) the vertex on the other side; itself on the rim

    def take(self, field: np.ndarray) -> np.ndarray:
        """A field "V_body ..." on the cut's vertices."""
        share = self.share.reshape(-1, *[1] * (field.ndim - 1))
        return (1 - share) * field[self.ends[:, 0]] + share * field[self.ends[:, 1]]

    def row(self, body_vertex: int) -> int:
        """The vertex that is this body vertex."""
        return int(np.flatnonzero((self.ends[:, 0] == body_vertex) & (self.share == 0))[0])


def rim_height(vertices: np.ndarray) -> np.ndarray:
    """Positive above the cut (decimetres): a saddle that leaves the collar and no shoulders."""
    x, y, z = vertices.T
    return y - (5.62 - 0.10 * z + 0.38 * x**2)


def cut_head(source: Source, body: np.ndarray) -> Cut:
    """Clip the quads of `body` (V, 3) at the rim; teeth and tongue come along whole."""
    builder = _Builder(rim_height(body), source)
    skin = source.groups == "body"
    for quad, uv_quad in zip(source.quads[skin], source.uv_quads[skin], strict=True):
        if (builder.height[quad] > 0).any():
            builder.clip(quad, uv_quad)
    skin_ids = np.arange(len(builder.ends))
    rim = np.array([row for row in skin_ids if builder.share[row] > 0])
    parts = {"skin": skin_ids}
    for group, name in PARTS.items():
        first = len(builder.ends)
        inside = source.groups == group
        for quad, uv_quad in zip(source.quads[inside], source.uv_quads[inside], strict=True):
            builder.polygon([(int(v), int(v), 0.0) for v in quad], list(uv_quad))
        parts[name] = np.arange(first, len(builder.ends))
    ends, share = np.array(builder.ends), np.array(builder.share)
    positions = (1 - share[:, None]) * body[ends[:, 0]] + share[:, None] * body[ends[:, 1]]
    faces, uv_faces = _triangles(builder.polygons, builder.uv_polygons, positions)
    mirror = _mirror_rows(source, ends, share)
    return Cut(ends, share, faces, np.array(builder.uv), uv_faces, parts, rim, mirror)


class _Builder:
    """Collects polygons; a vertex on a cut edge is shared by the two polygons beside it."""

    def __init__(self, height: np.ndarray, source: Source):
        self.height = np.where(height == 0, 1e-12, height)  # every vertex is above or below
        self.source = source
        self.ends: list[tuple[int, int]] = []
        self.share: list[float] = []
        self.rows: dict[tuple[int, int, float], int] = {}
        self.uv: list[np.ndarray] = []
        self.uv_rows: dict[object, int] = {}
        self.polygons: list[list[int]] = []
        self.uv_polygons: list[list[int]] = []

    def clip(self, quad: np.ndarray, uv_quad: np.ndarray) -> None:
        """Keep the part of one quad above the rim."""
        corners, uv_corners = [], []
        for i in range(4):
            a, b = int(quad[i]), int(quad[(i + 1) % 4])
            uv_a, uv_b = int(uv_quad[i]), int(uv_quad[(i + 1) % 4])
            if self.height[a] > 0:
                corners.append((a, a, 0.0))
                uv_corners.append(uv_a)
            if (self.height[a] > 0) != (self.height[b] > 0):
                a, b, uv_a, uv_b = (a, b, uv_a, uv_b) if a < b else (b, a, uv_b, uv_a)
                share = float(self.height[a] / (self.height[a] - self.height[b]))
                corners.append((a, b, share))
                uv_corners.append((uv_a, uv_b, share))
        self.polygon(corners, uv_corners)

    def polygon(self, corners: list[tuple[int, int, float]], uv_corners: list) -> None:
        for corner in corners:
            if corner not in self.rows:
                self.rows[corner] = len(self.ends)
                self.ends.append(corner[:2])
                self.share.append(corner[2])
        for corner in uv_corners:
            if corner not in self.uv_rows:
                self.uv_rows[corner] = len(self.uv)
                self.uv.append(self._texture(corner))
        self.polygons.append([self.rows[corner] for corner in corners])
        self.uv_polygons.append([self.uv_rows[corner] for corner in uv_corners])

    def _texture(self, corner: object) -> np.ndarray:
        if isinstance(corner, tuple):
            first, second, share = corner
            return (1 - share) * self.source.uv[first] + share * self.source.uv[second]
        return self.source.uv[corner]


def _mirror_rows(source: Source, ends: np.ndarray, share: np.ndarray) -> np.ndarray:
    whole = np.flatnonzero(share == 0)
    row_of = dict(zip(ends[whole, 0].tolist(), whole.tolist(), strict=True))
    mirror = np.arange(len(ends))
    mirror[whole] = [row_of[int(source.mirror[vertex])] for vertex in ends[whole, 0]]
    return mirror


def _triangles(
    polygons: list[list[int]], uv_polygons: list[list[int]], positions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fans from the corner whose diagonal is the shorter one, so that both sides mirror."""
    faces, uv_faces = [], []
    for polygon, uv_polygon in zip(polygons, uv_polygons, strict=True):
        start = 0
        if len(polygon) == 4:
            a, b, c, d = positions[polygon]
            start = int(((d - b) ** 2).sum() < ((c - a) ** 2).sum() - 1e-9)
        turned = polygon[start:] + polygon[:start]
        uv_turned = uv_polygon[start:] + uv_polygon[:start]
        for i in range(1, len(polygon) - 1):
            faces.append((turned[0], turned[i], turned[i + 1]))
            uv_faces.append((uv_turned[0], uv_turned[i], uv_turned[i + 1]))
    return np.array(faces), np.array(uv_faces)
