"""Draw solids by casting rays: exact surfaces, textures, shadows, occlusion, highlights.

This is the demo data's own renderer. It shares nothing with the Gaussian rasterizer it will judge.
Cameras are Blender's, as in D-NeRF: they look along their own -z, x right, y up.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scripts.demo.robot.shapes import Array, Solid
from scripts.demo.robot.textures import GAMMA

SAMPLES = 4  # rays per pixel along each side; the mean over the pixel is a box filter

SUN = np.array([-0.42, -0.55, 0.72]) / np.linalg.norm([-0.42, -0.55, 0.72])  # towards the light
SUN_AXES = np.stack([np.cross(SUN, (1, 0, 0)), np.cross(SUN, np.cross(SUN, (1, 0, 0))), SUN])
SUN_COLOR = np.float32((1.05, 0.98, 0.86))
SKY_COLOR = np.float32((0.42, 0.47, 0.55))
GROUND_COLOR = np.float32((0.24, 0.20, 0.17))
SHADOW_BIAS = 2e-3  # world units; hides rounding where two solids touch
OCCLUDER_RADIUS = 0.1  # solids with a smaller half extent are too thin to darken others


def render(solids: list[Solid], c2w: NDArray[np.float64], fov_x: float, size: int) -> NDArray:
    """RGBA (size, size, 4) uint8 with straight alpha; `c2w` (4, 4), `fov_x` in radians."""
    n, offsets = size * SAMPLES, _offsets(fov_x, size)
    ids, depth = _first_hits(solids, c2w, offsets)
    hits = np.flatnonzero(ids >= 0)
    row, column = np.divmod(hits, n)
    rays = np.stack([offsets[column], -offsets[row], np.full(len(hits), -1.0)], 1)
    rays = _apply(c2w[:3, :3], rays).astype(np.float32)
    points = rays * depth.reshape(-1)[hits, None] + c2w[:3, 3].astype(np.float32)

    color = np.zeros((n * n, 4), np.float32)
    order = np.argsort(ids.reshape(-1)[hits], kind="stable")
    counts = np.bincount(ids.reshape(-1)[hits], minlength=len(solids))
    lights = _Lights(solids)
    for index, group in enumerate(np.split(order, np.cumsum(counts)[:-1])):
        if len(group):
            color[hits[group], :3] = lights.shade(index, points[group], rays[group])
    color[hits, 3] = 1
    return _box_filter(color.reshape(size, SAMPLES, size, SAMPLES, 4))


def coverage(
    names: set[str], solids: list[Solid], c2w: NDArray[np.float64], fov_x: float, size: int
) -> NDArray[np.uint8]:
    """How much of each pixel of `render` shows solids of `names`, (size, size), 255: all."""
    ids, _ = _first_hits(solids, c2w, _offsets(fov_x, size))
    named = np.array([solid.name in names for solid in solids] + [False])  # the last: no solid
    shown = named[ids].reshape(size, SAMPLES, size, SAMPLES).mean((1, 3))
    return (shown * 255 + 0.5).astype(np.uint8)


def first_points(
    solids: list[Solid], c2w: NDArray[np.float64], fov_x: float, size: int
) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """What a camera sees of a picture of `size` pixels a side: the numbers of the solids (P,), and
    the points on them (P, 3), world units."""
    offsets = _offsets(fov_x, size)[SAMPLES // 2 :: SAMPLES]
    ids, depth = _first_hits(solids, c2w, offsets)
    row, column = np.nonzero(ids >= 0)
    rays = np.stack([offsets[column], -offsets[row], np.full(len(row), -1.0)], 1)
    points = (rays * depth[row, column, None]) @ c2w[:3, :3].T + c2w[:3, 3]
    return ids[row, column], points


def _offsets(fov_x: float, size: int) -> NDArray[np.float64]:
    """Where the rays of a row or column meet the plane at depth 1, (size * SAMPLES,)."""
    n = size * SAMPLES
    return ((np.arange(n) + 0.5) / n * 2 - 1) * np.tan(fov_x / 2)


def _first_hits(solids: list[Solid], c2w: NDArray, offsets: NDArray) -> tuple[NDArray, Array]:
    """Index of the nearest solid (-1: none) and its depth along the axis, for a square of rays."""
    n = len(offsets)
    ids, depth = np.full((n, n), -1, np.int16), np.full((n, n), np.inf, np.float32)
    for index, solid in enumerate(solids):
        rows, columns = _window(solid, c2w, offsets)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        unit = solid.unit_from_world
        across, up, back = (unit @ c2w[:3, :3]).T
        # Directions are scaled to depth 1, which makes them a sum of a row and a column term.
        direction = tuple(
            (offsets[columns] * across[i] - back[i]).astype(np.float32)
            + (-offsets[rows, None] * up[i]).astype(np.float32)
            for i in range(3)
        )
        origin = tuple((unit @ (c2w[:3, 3] - solid.center)).astype(np.float32))
        near, far = solid.shape.span(origin, direction)
        nearer = (near < far) & (near < depth[rows, columns])
        np.copyto(depth[rows, columns], near, where=nearer)
        np.copyto(ids[rows, columns], index, where=nearer)
    return ids, depth


def _window(solid: Solid, c2w: NDArray, offsets: NDArray) -> tuple[slice, slice]:
    """Rows and columns whose rays can meet the solid; the camera must be in front of all of it."""
    local = (solid.corners() - c2w[:3, 3]) @ c2w[:3, :3]
    x, y = local[:, 0] / -local[:, 2], local[:, 1] / local[:, 2]
    rows = np.searchsorted(offsets, (y.min(), y.max()))
    columns = np.searchsorted(offsets, (x.min(), x.max()))
    return slice(*rows), slice(*columns)


class _Lights:
    """The light that reaches each solid of one scene."""

    def __init__(self, solids: list[Solid]) -> None:
        self.solids = solids
        self.centers = np.stack([s.center for s in solids])
        self.radii = np.array([np.linalg.norm(s.corners()[0] - s.center) for s in solids])
        boxes = np.stack([s.corners() @ SUN_AXES.T for s in solids])
        # Shadows run along the last of these axes, so a box in them bounds what a solid can shade.
        self.sun_low = boxes.min(1).astype(np.float32)
        self.sun_high = boxes.max(1).astype(np.float32)
        self.occluders = [i for i, s in enumerate(solids) if s.half.min() > OCCLUDER_RADIUS]

    def shade(self, index: int, points: Array, rays: Array) -> Array:
        """Display RGB (P, 3) in [0, 1] of points (P, 3) on one solid, seen along `rays` (P, 3)."""
        solid = self.solids[index]
        rotation = solid.pose[:3, :3].astype(np.float32)
        local = _apply(rotation.T, points - solid.center.astype(np.float32))
        half = solid.half.astype(np.float32)
        # Normals transform with the inverse transpose of the scaling.
        local_normals = _unit(solid.shape.normal(local / half) / half)
        normals = _apply(rotation, local_normals)

        cosine = _apply(SUN[None].astype(np.float32), normals)[:, 0]
        facing = np.maximum(cosine, 0) * self._sunlit(index, points, cosine)
        halfway = _unit(SUN.astype(np.float32) - _unit(rays))
        gleam = np.maximum(_dot(normals, halfway), 0) ** np.float32(solid.paint.sharpness)
        openness = self._openness(index, points, normals)[:, None]
        # What blocks the sky also keeps much of the bounced light away.
        sky = (0.5 + 0.5 * normals[:, 2:]) * openness
        ambient = (GROUND_COLOR + (SKY_COLOR - GROUND_COLOR) * sky) * (0.4 + 0.6 * openness)
        albedo = solid.paint.color(local, local_normals)
        linear = albedo * (ambient + facing[:, None] * SUN_COLOR)
        linear += (solid.paint.gloss * gleam * (facing > 0))[:, None] * SUN_COLOR
        return np.clip(linear, 0, 1) ** np.float32(1 / GAMMA)

    def _sunlit(self, index: int, points: Array, cosine: Array) -> Array:
        """1 where the sun is seen, 0 in shadow, (P,); `cosine` (P,) is that of its angle."""
        lit = (cosine > 0).astype(np.float32)
        across, up, along = _apply(SUN_AXES.astype(np.float32), points).T
        for other in self._shadow_casters(index):
            low, high = self.sun_low[other], self.sun_high[other]
            inside = (across > low[0]) & (across < high[0]) & (up > low[1]) & (up < high[1])
            near = np.flatnonzero(inside & (along < high[2]))
            if not len(near):
                continue
            solid = self.solids[other]
            offset = points[near] - solid.center.astype(np.float32)
            origin = tuple(_apply(solid.unit_from_world.astype(np.float32), offset).T)
            direction = tuple((solid.unit_from_world @ SUN).astype(np.float32))
            enter, leave = solid.shape.span(origin, direction)
            lit[near[np.maximum(enter, SHADOW_BIAS) < leave]] = 0
        return lit

    def _shadow_casters(self, index: int) -> NDArray:
        """Solids that may stand between this one and the sun; a convex one never shades itself."""
        candidates = np.all(self.sun_high > self.sun_low[index], axis=1)
        candidates &= np.all(self.sun_low[:, :2] < self.sun_high[index, :2], axis=1)
        candidates[index] = False
        return np.flatnonzero(candidates)

    def _openness(self, index: int, points: Array, normals: Array) -> Array:
        """Share of the sky that near solids leave open, (P,): each counted as a ball.

        A ball of radius r at distance d in direction w hides max(0, n·w) r²/d² of the
        cosine-weighted hemisphere (exact for a ball above the horizon).
        """
        openness = np.ones(len(points), np.float32)
        for other in self.occluders:
            radius2 = np.float32(np.prod(self.solids[other].half) ** (2 / 3))
            reach = self.radii[index] + 5 * np.sqrt(radius2)
            if other == index or np.linalg.norm(self.centers[other] - self.centers[index]) > reach:
                continue
            to = self.centers[other].astype(np.float32) - points
            distance2 = np.maximum(_dot(to, to), radius2)
            cosine = np.maximum(_dot(normals, to), 0) / np.sqrt(distance2)
            openness *= 1 - cosine * radius2 / distance2
        return openness


def _unit(vectors: Array) -> Array:
    return vectors / np.sqrt(_dot(vectors, vectors))[:, None]


def _apply(matrix: Array, vectors: Array) -> Array:
    """`matrix` (M, 3) times each of `vectors` (P, 3), as (P, M); without BLAS and its threads."""
    return np.einsum("mi,pi->mp", matrix, vectors).T


def _dot(a: Array, b: Array) -> Array:
    return np.einsum("ij,ij->i", a, b)  # several times faster than (a * b).sum(1) on short rows


def _box_filter(samples: Array) -> NDArray[np.uint8]:
    """Mean over the samples of each pixel, premultiplied; written with straight alpha."""
    mean = np.einsum("ajbkc->abc", samples) * np.float32(1 / SAMPLES**2)
    mean[..., :3] /= np.maximum(mean[..., 3:], 1e-6)
    return (mean * 255 + 0.5).astype(np.uint8)
