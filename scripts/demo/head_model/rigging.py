"""Building blocks of a rig in FLAME's layout, shared by the toy head and the free stand-in.

NumPy, float64; sizes as in scene/head/model.py.
"""

from __future__ import annotations

import numpy as np

ROOT, NECK, JAW, LEFT_EYE, RIGHT_EYE = range(5)
PARENTS = (-1, ROOT, NECK, NECK, NECK)
_SIDED_NAMES = (
    *("browDown", "browInnerUp", "browOuterUp", "cheekPuff", "cheekSquint", "eyeBlink"),
    *("eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide"),
    *("mouthDimple", "mouthFrown", "mouthLowerDown", "mouthPress", "mouthSmile", "mouthStretch"),
    *("mouthUpperUp", "noseSneer"),
)
_MIDDLE_NAMES = (
    *("jawForward", "mouthClose", "mouthFunnel", "mouthLeft", "mouthPucker", "mouthRight"),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
)
# ARKit's names in alphabetical order, with browInnerUp and cheekPuff split into sides as the ICT
# face model has them; jawOpen, jawLeft and jawRight are poses of the jaw joint, tongueOut is not
# there: 50 expressions, as many as IMavatar's layout has.
EXPRESSION_NAMES = tuple(
    sorted([*(f"{n}{side}" for n in _SIDED_NAMES for side in ("Left", "Right")), *_MIDDLE_NAMES])
)


def joint_row(vertices: np.ndarray, joint: np.ndarray) -> np.ndarray:
    """Weights (M,), least in squares, that sum to 1 and put (M, 3) vertices at `joint`."""
    constraints = np.vstack((vertices.T, np.ones(len(vertices))))
    target = np.append(joint, 1.0)
    return constraints.T @ np.linalg.solve(constraints @ constraints.T, target)


def rotation_about(axis: int, angle: float) -> np.ndarray:
    """Rotation (3, 3) by `angle` radians about coordinate axis `axis`."""
    c, s = np.cos(angle), np.sin(angle)
    rotation = np.eye(3)
    u, v = (axis + 1) % 3, (axis + 2) % 3
    rotation[u, u], rotation[u, v], rotation[v, u], rotation[v, v] = c, -s, s, c
    return rotation


def jaw_motion(
    weights: np.ndarray, joint: np.ndarray, axis: int, angle: float
) -> tuple[np.ndarray, np.ndarray]:
    """Linear part (V, 3, 3) and shift (V, 3) of skinning by the jaw's `weights` (V,) alone."""
    turn = rotation_about(axis, angle) - np.eye(3)
    return np.eye(3) + weights[:, None, None] * turn, -weights[:, None] * (turn @ joint)


def skinning_fit(
    vertices: np.ndarray, moved: np.ndarray, joint: np.ndarray, angle: float
) -> np.ndarray:
    """Jaw weights (V,) in [0, 1] that come nearest to the displacement `moved` of an open jaw."""
    linear, shift = jaw_motion(np.ones(len(vertices)), joint, 0, angle)
    rigid = (linear @ vertices[..., None])[..., 0] + shift - vertices
    square = (rigid**2).sum(1)
    return np.clip((moved * rigid).sum(1) / np.maximum(square, 1e-12), 0, 1)


def jaw_offset(
    vertices: np.ndarray,
    moved: np.ndarray,
    weights: np.ndarray,
    joint: np.ndarray,
    axis: int,
    angle: float,
) -> np.ndarray:
    """Offset (V, 3) before skinning that makes the turned jaw land on vertices + moved exactly."""
    linear, shift = jaw_motion(weights, joint, axis, angle)
    return np.linalg.solve(linear, (vertices + moved - shift)[..., None])[..., 0] - vertices


def corrective(offset: np.ndarray, axis: int, angle: float) -> np.ndarray:
    """Pose basis (V, 3, 36) that is `offset` when the jaw alone turns by `angle` about `axis`.

    Only the two antisymmetric entries of R - I are used, so that it grows with sin(angle).
    """
    basis = np.zeros((*offset.shape, 36))
    u, v = (axis + 1) % 3, (axis + 2) % 3
    block = 9 * (JAW - 1)
    basis[..., block + 3 * v + u] = offset / (2 * np.sin(angle))
    basis[..., block + 3 * u + v] = -offset / (2 * np.sin(angle))
    return basis


def neck_ramp(vertices: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """A smoothstep (V,) along the axis between two points: 0 up to `start`, 1 from `end` on."""
    axis = end - start
    t = np.clip((vertices - start) @ axis / (axis @ axis), 0, 1)
    return t * t * (3 - 2 * t)


def skin_table(
    ramp: np.ndarray, jaw: np.ndarray, eyes: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Weights (V, 5): what the ramp leaves is the root's, eyeballs (ids) are their joint's."""
    table = np.stack((1 - ramp, ramp * (1 - jaw), ramp * jaw, 0 * ramp, 0 * ramp), 1)
    for joint, ids in zip((LEFT_EYE, RIGHT_EYE), eyes, strict=True):
        table[ids] = np.eye(5)[joint]
    return table


def sphere(
    centre: np.ndarray, radius: float, polar: np.ndarray, columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and triangles of a sphere with rings at the angles `polar` from its front (+z) pole.

    The front pole is the first vertex, the back pole the last. With an even number of columns the
    sphere is its own mirror image.
    """
    rings = len(polar)
    azimuth = 2 * np.pi * (np.arange(columns) + 0.5) / columns
    ring = np.stack(
        (
            np.sin(polar)[:, None] * np.sin(azimuth),
            np.sin(polar)[:, None] * np.cos(azimuth),
            np.repeat(np.cos(polar)[:, None], columns, 1),
        ),
        -1,
    )
    directions = np.vstack(([0, 0, 1], ring.reshape(-1, 3), [0, 0, -1]))
    k = np.arange(columns)
    n = (k + 1) % columns
    front, back = np.zeros(columns, int), np.full(columns, len(directions) - 1)
    faces = [np.stack((front, 1 + n, 1 + k), 1)]
    for r in range(rings - 1):
        a, b = 1 + r * columns, 1 + (r + 1) * columns
        faces += [np.stack((a + k, a + n, b + n), 1), np.stack((a + k, b + n, b + k), 1)]
    a = 1 + (rings - 1) * columns
    faces.append(np.stack((a + k, a + n, back), 1))
    return centre + radius * directions, np.concatenate(faces)
