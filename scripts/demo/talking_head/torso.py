"""A torso under the demo head: shoulders in suit and shirt, a rigid body of its own.

It moves as those of real speakers were found to: linearly in how the head turns, plus a part that
nothing else tells. The mesh is in the head's rest frame; metres, y up, the face to +z.
"""

from __future__ import annotations

import numpy as np

from scripts.demo.talking_head.mesh import Array
from scripts.demo.talking_head.performance import NECK, wander

COLUMNS = 64
# Rings from the collar down: height, half width, half depth, middle z.
RINGS = (
    (-0.098, 0.054, 0.056, -0.016), (-0.106, 0.066, 0.062, -0.018), (-0.114, 0.092, 0.070, -0.022),
    (-0.122, 0.120, 0.078, -0.026), (-0.132, 0.150, 0.086, -0.030), (-0.148, 0.176, 0.094, -0.034),
    (-0.175, 0.196, 0.102, -0.038), (-0.230, 0.210, 0.110, -0.042), (-0.320, 0.215, 0.115, -0.044),
)  # fmt: skip
STEPS = 4  # rings drawn between two of these
SUIT, SHIRT, TIE, SEAM = (0.12, 0.14, 0.20), (0.93, 0.93, 0.95), (0.48, 0.10, 0.12), (0.05,) * 3
OPENING = 0.55  # half width of the shirt, per metre below the collar
# Metres that the torso goes to the side, up and ahead for each radian of the head's nod, turn and
# tilt; and the share of that turn that it makes.
LAW = np.array([[0.002, 0.020, -0.060], [-0.020, 0.002, 0.006], [0.025, 0.003, 0.004]])
FOLLOWS = 0.12
OWN, BREATH, BREATH_LONG = 0.0008, 0.0008, 95  # metres of its own, of a breath; frames of a breath
PIVOT = np.array([0.0, -0.16, -0.03])  # metres, what it turns about


def mesh() -> tuple[Array, np.ndarray]:
    """Vertices (V, 3) and faces (F, 3), counter-clockwise from outside."""
    at = np.linspace(0, len(RINGS) - 1, STEPS * (len(RINGS) - 1) + 1)
    height, width, depth, middle = (
        np.interp(at, np.arange(len(RINGS)), column) for column in np.array(RINGS).T
    )
    angle = 2 * np.pi * np.arange(COLUMNS) / COLUMNS
    x = width[:, None] * np.sin(angle)
    z = middle[:, None] + depth[:, None] * np.cos(angle)
    vertices = np.stack(np.broadcast_arrays(x, height[:, None], z), -1).reshape(-1, 3)
    above, along = np.divmod(np.arange((len(at) - 1) * COLUMNS), COLUMNS)
    a, b = above * COLUMNS + along, above * COLUMNS + (along + 1) % COLUMNS
    c, d = a + COLUMNS, b + COLUMNS
    return vertices, np.concatenate((np.stack((a, c, b), 1), np.stack((b, c, d), 1)))


def colors(points: Array) -> Array:
    """Display colours (S, 3) of places (S, 3) on the torso at rest."""
    x, y, z = points.T
    below = RINGS[0][0] - y
    front = z > RINGS[0][3]
    found = np.tile(SUIT, (len(points), 1)) * (1 + 0.12 * np.sin(900 * x))[:, None]  # pinstripes
    opening = 0.030 + OPENING * np.maximum(0.09 - below, 0) * (below > 0.004)
    shirt = front & (np.abs(x) < opening)
    found[front & (np.abs(np.abs(x) - opening) < 0.003)] = SEAM  # the lapels' edge
    found[shirt] = SHIRT
    found[front & (np.abs(x) < 0.008 + 0.06 * below)] = TIE
    found[below < 0.004] = SHIRT  # the collar
    return found


def motion(flame_pose: Array, rng: np.random.Generator) -> Array:
    """(T, 4, 4) where the torso is in the world, from its rest."""
    turn, count = flame_pose[:, NECK : NECK + 3], len(flame_pose)
    shift = turn @ LAW.T
    shift += OWN * np.stack([wander(rng, count, 15) for _ in range(3)], 1)
    shift[:, 1] += BREATH * np.sin(2 * np.pi * np.arange(count) / BREATH_LONG)
    moved = np.tile(np.eye(4), (count, 1, 1))
    moved[:, :3, :3] = _matrices(FOLLOWS * turn)
    moved[:, :3, 3] = shift + PIVOT - moved[:, :3, :3] @ PIVOT
    return moved


def _matrices(axis_angle: Array) -> Array:
    """(T, 3, 3) of rotation vectors (T, 3), radians (Rodrigues)."""
    angle = np.linalg.norm(axis_angle, axis=1)[:, None, None]
    x, y, z = (axis_angle / np.maximum(angle[:, 0], 1e-12)).T
    zero = np.zeros_like(x)
    cross = np.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).reshape(-1, 3, 3)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
