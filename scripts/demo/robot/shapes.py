"""Convex unit shapes, placed in the world as solids: where does a ray enter and leave them?

Every shape lives in its own unit frame inside [-1, 1]³; a `Solid` scales, turns and moves it.
Convex shapes meet a ray in one interval, so one function `span` serves the camera and the shadows
alike, and two shapes are intersected by intersecting their intervals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Span = tuple[Array, Array]

TINY = np.float32(1e-12)  # keeps a ray that runs along a face from dividing by zero


@dataclass(frozen=True)
class Shape:
    """A convex unit shape.

    `span(origin, direction)` takes two triples of arrays that broadcast to a common shape `R` and
    returns the ray parameters (near `R`, far `R`) of the visit; a miss has near > far.
    `normal(points)` takes points (P, 3) on the surface and returns outward directions (P, 3) of any
    length.
    """

    span: Callable[[tuple[Array, ...], tuple[Array, ...]], Span]
    normal: Callable[[Array], Array]


@dataclass(frozen=True)
class Paint:
    """How a surface looks: linear RGB (P, 3) in [0, 1] of points and normals (P, 3), and gloss.

    Points and normals are in the solid's own frame, in world units, measured from its centre.
    """

    color: Callable[[Array, Array], Array]
    gloss: float = 0.25  # strength of the highlight, relative to the light
    sharpness: float = 30.0  # exponent of the highlight (Blinn-Phong)


@dataclass(frozen=True)
class Solid:
    """A shape placed in the world; `pose` (4, 4) is rigid, `half` (3,) its half extents."""

    name: str
    shape: Shape
    pose: NDArray[np.float64]
    half: NDArray[np.float64]
    paint: Paint

    @property
    def center(self) -> NDArray[np.float64]:
        """World position of the centre, (3,)."""
        return self.pose[:3, 3]

    @property
    def unit_from_world(self) -> NDArray[np.float64]:
        """Linear map (3, 3) that takes world directions to the unit frame."""
        return self.pose[:3, :3].T / self.half[:, None]

    def corners(self) -> NDArray[np.float64]:
        """The eight world corners (8, 3) of the box around the solid."""
        signs = np.stack(np.meshgrid(*[(-1.0, 1.0)] * 3, indexing="ij"), -1).reshape(8, 3)
        return (signs * self.half) @ self.pose[:3, :3].T + self.center


def _ball_span(origin: tuple[Array, ...], direction: tuple[Array, ...], radius2: float) -> Span:
    return _quadratic_span(
        _dot(direction, direction),
        _dot(origin, direction),
        _dot(origin, origin) - np.float32(radius2),
    )


def _cube_span(origin: tuple[Array, ...], direction: tuple[Array, ...]) -> Span:
    near, far = _slab_span(origin[0], direction[0])
    for axis in (1, 2):
        low, high = _slab_span(origin[axis], direction[axis])
        near, far = np.maximum(near, low), np.minimum(far, high)
    return near, far


def _rod_span(origin: tuple[Array, ...], direction: tuple[Array, ...]) -> Span:
    side, cap = slice(0, 2), _slab_span(origin[2], direction[2])
    near, far = _quadratic_span(
        _dot(direction[side], direction[side]) + TINY,
        _dot(origin[side], direction[side]),
        _dot(origin[side], origin[side]) - np.float32(1.0),
    )
    return np.maximum(near, cap[0]), np.minimum(far, cap[1])


def _slab_span(origin: Array, direction: Array) -> Span:
    """Where a ray is between the planes -1 and 1 of one axis."""
    inverse = np.float32(1.0) / np.where(direction == 0, TINY, direction)
    middle, reach = -origin * inverse, np.abs(inverse)
    return middle - reach, middle + reach


def _quadratic_span(a: Array, b: Array, c: Array) -> Span:
    """Where a t² + 2 b t + c <= 0, for a > 0."""
    disc = b * b - a * c
    root = np.sqrt(np.maximum(disc, 0))
    inverse = np.float32(1.0) / a
    near = np.where(disc > 0, (-b - root) * inverse, np.float32(np.inf))
    return near, (root - b) * inverse


def _dot(a: tuple[Array, ...], b: tuple[Array, ...]) -> Array:
    total = a[0] * b[0]
    for x, y in zip(a[1:], b[1:], strict=True):
        total = total + x * y
    return total


def _cube_normal(points: Array) -> Array:
    face = np.abs(points).argmax(1)[:, None]
    normals = np.zeros_like(points)
    np.put_along_axis(normals, face, np.sign(np.take_along_axis(points, face, 1)), 1)
    return normals


def _rod_normal(points: Array) -> Array:
    normals = points.copy()
    on_cap = np.abs(points[:, 2]) > np.hypot(points[:, 0], points[:, 1])
    normals[on_cap, :2] = 0
    normals[~on_cap, 2] = 0
    return normals


ROUNDING2 = 1.9  # squared radius of the ball that rounds a unit cube: its edges have 2


def _cushion_span(origin: tuple[Array, ...], direction: tuple[Array, ...]) -> Span:
    cube, ball = _cube_span(origin, direction), _ball_span(origin, direction, ROUNDING2)
    return np.maximum(cube[0], ball[0]), np.minimum(cube[1], ball[1])


def _cushion_normal(points: Array) -> Array:
    on_ball = (points * points).sum(1, keepdims=True) > ROUNDING2 - 1e-3
    return np.where(on_ball, points, _cube_normal(points))


CUBE = Shape(_cube_span, _cube_normal)
BALL = Shape(lambda origin, direction: _ball_span(origin, direction, 1.0), lambda points: points)
ROD = Shape(_rod_span, _rod_normal)  # along its own z axis, with flat ends
CUSHION = Shape(_cushion_span, _cushion_normal)  # a cube with its edges and corners taken off
