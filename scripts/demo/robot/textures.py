"""Procedural colours: each function returns a `Paint.color`, linear RGB from points in world units.

Patterns are kept well wider than a pixel of a 200×200 picture, so that the box filter of the
renderer is all the anti-aliasing they need.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scripts.demo.robot.shapes import Array

Color = Callable[[Array, Array], Array]

GAMMA = 2.2


def rgb(code: str) -> Array:
    """Linear RGB (3,) of a display colour written as six hexadecimal digits."""
    return (np.frombuffer(bytes.fromhex(code), np.uint8) / np.float32(255)) ** np.float32(GAMMA)


def plain(code: str) -> Color:
    """One colour."""
    color = rgb(code)
    return lambda points, normals: np.broadcast_to(color, points.shape)


def stripes(a: str, b: str, *, axis: int, period: float, duty: float = 0.5) -> Color:
    """Bands of two colours along one axis; `period` in world units, `duty` is the share of `b`."""

    def color(points: Array, normals: Array) -> Array:
        return _either((points[:, axis] / period) % 1 < duty, b, a)

    return color


def checks(a: str, b: str, *, period: float) -> Color:
    """A three-dimensional checkerboard with cubes of half a `period`."""

    def color(points: Array, normals: Array) -> Array:
        # The shift keeps faces that lie exactly between two cubes on one side of the border.
        cells = np.floor(points * (2 / period) + 0.5 - 1e-3 * normals).astype(np.int32)
        return _either(cells.sum(1) % 2 == 0, a, b)

    return color


def wedges(a: str, b: str, *, count: int, hub: float = 0.0, hub_color: str | None = None) -> Color:
    """`count` sectors of each colour around the z axis, in the middle a disc of radius `hub`."""

    def color(points: Array, normals: Array) -> Array:
        turn = np.arctan2(points[:, 1], points[:, 0]) / (2 * np.pi)
        sectors = _either((turn * count) % 1 < 0.5, a, b)
        in_hub = np.hypot(points[:, 0], points[:, 1]) < hub
        return np.where(in_hub[:, None], rgb(hub_color or a), sectors)

    return color


def spot(ground: str, mark: str, *, toward: tuple[float, float, float], angle: float) -> Color:
    """A round mark on a ball: within `angle` radians of the direction `toward`."""
    center = np.asarray(toward, np.float32) / np.float32(np.linalg.norm(toward))

    def color(points: Array, normals: Array) -> Array:
        cosine = (points * center).sum(1) / np.linalg.norm(points, axis=1)
        return _either(cosine > np.cos(angle), mark, ground)

    return color


def tin(code: str, *, seam: str, heights: tuple[float, ...], width: float) -> Color:
    """Mottled painted metal with darker seams at some heights, `width` world units thick."""

    def color(points: Array, normals: Array) -> Array:
        mottle = 0.82 + 0.36 * noise(points * 9)[:, None]
        gap = np.abs(points[:, 2:] - np.asarray(heights, np.float32)).min(1) < width / 2
        return np.where(gap[:, None], rgb(seam), np.minimum(rgb(code) * mottle, 1))

    return color


def stand(radius: float) -> Color:
    """The wooden stand: grain in the middle, a checkered border, a banded side."""

    def color(points: Array, normals: Array) -> Array:
        distance = np.hypot(points[:, 0], points[:, 1])
        grain = points * np.float32((3.0, 14.0, 3.0))
        rings = 0.5 + 0.5 * np.sin(55 * points[:, 1] + 9 * noise(points * 2.5))
        shade = 0.25 + 0.45 * rings + 0.3 * noise(grain)
        wood = _mix("7a4a26", "d9a566", shade)
        turn = np.arctan2(points[:, 1], points[:, 0]) / (2 * np.pi)
        row = distance > radius * 0.9
        border = _either(((turn * 36) % 1 < 0.5) ^ row, "f4ead2", "25405e")
        side = _either((turn * 24) % 1 < 0.5, "b5382f", "f0c75e")
        top = np.where((distance > radius * 0.8)[:, None], border, wood)
        return np.where((normals[:, 2] > 0.5)[:, None], top, side)

    return color


def noise(points: Array) -> Array:
    """Smooth value noise (P,) in [0, 1]: one lattice cell per unit, repeating after 16."""
    lattice = np.random.default_rng(7).random((16, 16, 16), np.float32).reshape(-1)
    cell = np.floor(points)
    part = points - cell
    part = part * part * (3 - 2 * part)
    low = cell.astype(np.int32) & 15
    high = (low + 1) & 15
    total = np.zeros(len(points), np.float32)
    for corner in range(8):
        bits = [(corner >> axis) & 1 for axis in range(3)]
        x, y, z = ((high if bit else low)[:, axis] for axis, bit in enumerate(bits))
        weights = [part[:, i] if bit else 1 - part[:, i] for i, bit in enumerate(bits)]
        total += weights[0] * weights[1] * weights[2] * lattice[(x * 16 + y) * 16 + z]
    return total


def _either(mask: np.ndarray, yes: str, no: str) -> Array:
    return np.stack([rgb(no), rgb(yes)])[mask.astype(np.intp)]


def _mix(a: str, b: str, share: Array) -> Array:
    share = share[:, None]
    return rgb(a) * (1 - share) + rgb(b) * share
