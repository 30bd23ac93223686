"""A small head in FLAME's layout made of formulas: for tests, and where no model is at hand."""

from __future__ import annotations

import numpy as np
import torch

from scene.head.model import HeadModel, Landmarks
from scripts.demo.head_model.rigging import (
    EXPRESSION_NAMES,
    PARENTS,
    corrective,
    jaw_offset,
    joint_row,
    neck_ramp,
    skin_table,
    skinning_fit,
    sphere,
)

COLUMNS = 32
# Rings from the crown to the neck's rim: height, half width, half depth, middle z (metres).
PROFILE = (
    (0.118, 0.022, 0.026, -0.022), (0.110, 0.046, 0.055, -0.022), (0.095, 0.064, 0.079, -0.021),
    (0.078, 0.073, 0.091, -0.020), (0.060, 0.076, 0.096, -0.018), (0.045, 0.076, 0.097, -0.016),
    (0.030, 0.075, 0.096, -0.014), (0.015, 0.074, 0.095, -0.012), (0.000, 0.073, 0.094, -0.009),
    (-0.012, 0.071, 0.092, -0.006), (-0.023, 0.069, 0.090, -0.003), (-0.033, 0.066, 0.087, 0.001),
    (-0.045, 0.063, 0.083, 0.005), (-0.056, 0.059, 0.078, 0.008), (-0.068, 0.053, 0.070, 0.009),
    (-0.080, 0.047, 0.055, -0.002), (-0.095, 0.046, 0.050, -0.012), (-0.115, 0.047, 0.050, -0.016),
    (-0.140, 0.050, 0.052, -0.019), (-0.165, 0.058, 0.056, -0.021), (-0.190, 0.075, 0.062, -0.022),
)  # fmt: skip
MOUTH_RING, MOUTH_HALF_WIDTH = 12, 0.026
ROOT_JOINT, NECK_JOINT = np.array([0, -0.13, -0.02]), np.array([0, -0.07, -0.015])
HEAD_STARTS = np.array([0, -0.034, -0.012])  # where the neck has turned into the head
JAW_JOINT = np.array([0, -0.005, 0.0])
EYES, EYE_RADIUS = (np.array([0.032, 0.03, 0.07]), np.array([-0.032, 0.03, 0.07])), 0.012
JAW_OPEN_ANGLE = 0.35
# Where each expression acts (x of the left side, y) and what it does there, in millimetres.
ACTIONS = {
    "browDown": (32, 48, (-2, -5, 1)), "browInnerUp": (12, 48, (0, 6, 1)),
    "browOuterUp": (48, 46, (0, 6, 0)), "cheekPuff": (45, -35, (6, 0, 6)),
    "cheekSquint": (40, 8, (0, 4, 2)), "eyeBlink": (32, 34, (0, -9, 2)),
    "eyeLookDown": (32, 36, (0, -4, 1)), "eyeLookIn": (28, 30, (-1, 0, 0)),
    "eyeLookOut": (36, 30, (1, 0, 0)), "eyeLookUp": (32, 36, (0, 3, 0)),
    "eyeSquint": (34, 20, (0, 3, 1)), "eyeWide": (32, 40, (0, 4, 0)),
    "mouthDimple": (28, -45, (3, 0, -3)), "mouthFrown": (26, -48, (1, -6, 0)),
    "mouthLowerDown": (12, -54, (0, -6, 0)), "mouthPress": (20, -46, (0, 2, -2)),
    "mouthSmile": (28, -44, (6, 7, -3)), "mouthStretch": (28, -46, (7, -3, -2)),
    "mouthUpperUp": (12, -38, (0, 5, 1)), "noseSneer": (10, 2, (1, 4, 1)),
    "jawForward": (0, -60, (0, 0, 8)), "mouthClose": (0, -52, (0, 14, 2)),
    "mouthFunnel": (0, -45, (0, 0, 9)), "mouthLeft": (0, -46, (9, 0, 0)),
    "mouthPucker": (0, -46, (0, 0, 12)), "mouthRight": (0, -46, (-9, 0, 0)),
    "mouthRollLower": (0, -52, (0, 5, -5)), "mouthRollUpper": (0, -40, (0, -4, -5)),
    "mouthShrugLower": (0, -52, (0, 6, 3)), "mouthShrugUpper": (0, -40, (0, 5, 3)),
}  # fmt: skip


def toy_head(n_shape: int = 100) -> HeadModel:
    """About 900 vertices; 50 named expressions, every array of the layout filled, deterministic."""
    template, faces, lower, eyes = _geometry()
    opening = _jaw_opening(template, lower)
    joints = np.stack((ROOT_JOINT, NECK_JOINT, JAW_JOINT, *EYES))
    jaw = skinning_fit(template, opening, JAW_JOINT, JAW_OPEN_ANGLE)
    weights = skin_table(neck_ramp(template, ROOT_JOINT, HEAD_STARTS), jaw, eyes)
    offset = jaw_offset(template, opening, weights[:, 2], JAW_JOINT, 0, JAW_OPEN_ANGLE)
    skin_ids = np.arange(eyes[0][0])
    expressions = np.stack([_expression(name, template, lower) for name in EXPRESSION_NAMES], -1)
    expressions[np.concatenate(eyes)] = 0
    blink = [EXPRESSION_NAMES.index(f"eyeBlink{side}") for side in ("Left", "Right")]
    return HeadModel(
        template=_float(template),
        faces=torch.from_numpy(faces),
        shape_basis=_float(_identities(template, n_shape)),
        expression_basis=_float(expressions),
        pose_basis=_float(corrective(offset, 0, JAW_OPEN_ANGLE)),
        joint_regressor=_float(_regressor(template, joints, skin_ids, eyes)),
        skin_weights=_float(weights),
        parents=PARENTS,
        landmarks=_landmarks(template, faces, eyes),
        masks={
            "left_eyeball": torch.from_numpy(eyes[0]),
            "right_eyeball": torch.from_numpy(eyes[1]),
        },
        eyelids=_float(expressions[..., blink].transpose(2, 0, 1)),
        expression_names=EXPRESSION_NAMES,
        jaw_open_angle=JAW_OPEN_ANGLE,
        licence="made of formulas; part of this project",
    )


def _geometry() -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Vertices, triangles, which vertices are below the mouth line, ids of both eyeballs."""
    rings = np.array(PROFILE)
    angle = 2 * np.pi * np.arange(COLUMNS) / COLUMNS
    x = rings[:, 1:2] * np.sin(angle)
    z = rings[:, 2:3] * np.cos(angle) + rings[:, 3:4]
    skin = np.stack((x, np.repeat(rings[:, :1], COLUMNS, 1), z), -1)
    front = np.clip(z / 0.08, 0, 1) ** 2
    skin[..., 2] += 0.022 * front * _window(skin, (0, -0.008), 0.010)  # nose
    skin[..., 2] += 0.008 * front * _window(skin, (0, -0.068), 0.015)  # chin
    grid = 1 + np.arange(len(rings) * COLUMNS).reshape(len(rings), COLUMNS)
    below = grid.copy()  # what the quads under a ring use
    slit = (np.abs(x[MOUTH_RING]) < MOUTH_HALF_WIDTH) & (z[MOUTH_RING] > 0)
    below[MOUTH_RING, slit] = grid[-1, -1] + 1 + np.arange(slit.sum())
    vertices = np.vstack(([0, 0.121, -0.022], skin.reshape(-1, 3), skin[MOUTH_RING, slit]))
    lower = np.zeros(len(vertices), bool)
    lower[below[MOUTH_RING:]] = True
    ends = np.flatnonzero(slit)
    lower[grid[MOUTH_RING, ends]] = False
    k = np.arange(COLUMNS)
    n = (k + 1) % COLUMNS
    faces = [np.stack((np.zeros(COLUMNS, int), grid[0, k], grid[0, n]), 1)]
    for upper, under in zip(below[:-1], grid[1:], strict=True):
        faces += [np.stack((upper[k], under[k], under[n]), 1)]
        faces += [np.stack((upper[k], under[n], upper[n]), 1)]
    eyes = []
    for centre in EYES:
        ball, triangles = sphere(centre, EYE_RADIUS, np.pi * np.arange(1, 8) / 8, columns=10)
        faces.append(triangles + len(vertices))
        eyes.append(len(vertices) + np.arange(len(ball)))
        vertices = np.vstack((vertices, ball))
        lower = np.append(lower, np.zeros(len(ball), bool))
    return vertices, np.concatenate(faces), lower, (eyes[0], eyes[1])


def _window(points: np.ndarray, middle: tuple[float, float], size: float) -> np.ndarray:
    square = (points[..., 0] - middle[0]) ** 2 + (points[..., 1] - middle[1]) ** 2
    return np.exp(-square / (2 * size**2))


def _jaw_opening(template: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """What an open mouth does: the chin and the lower lip turn about the jaw, the neck stays."""
    y, z = template[:, 1], template[:, 2]
    share = lower * np.clip((z + 0.01) / 0.05, 0, 1) * np.clip((y + 0.11) / 0.03, 0, 1)
    c, s = np.cos(JAW_OPEN_ANGLE), np.sin(JAW_OPEN_ANGLE)
    arm = template - JAW_JOINT
    turned = np.stack((arm[:, 0], c * arm[:, 1] - s * arm[:, 2], s * arm[:, 1] + c * arm[:, 2]), 1)
    return share[:, None] * (turned - arm) * 0.95


def _expression(name: str, template: np.ndarray, lower: np.ndarray) -> np.ndarray:
    stem = name.removesuffix("Left").removesuffix("Right")
    sided = stem in ACTIONS and name != stem and name not in ACTIONS
    x, y, move = ACTIONS[stem if sided else name]
    side = -1 if sided and name.endswith("Right") else 1
    window = _window(template, (side * x / 1000, y / 1000), 0.012)
    window = window * np.clip(template[:, 2] / 0.04, 0, 1)
    if y < -48:  # the lower lip's own
        window = window * lower
    return window[:, None] * np.array(move) * (side, 1, 1) / 1000


def _identities(template: np.ndarray, count: int) -> np.ndarray:
    """Waves over azimuth and height, slower ones first and larger, along the radius."""
    azimuth = np.arctan2(template[:, 0], template[:, 2] + 0.02)
    height = (template[:, 1] + 0.19) / 0.31
    radial = template * (1, 0.6, 1)
    radial = radial / np.maximum(np.linalg.norm(radial, axis=1, keepdims=True), 0.02)
    waves = []
    for level in range(count):
        for m in range(level + 1):
            size = 0.003 * (level + 1) ** -1.5
            row = size * np.cos(np.pi * (level - m) * height)
            waves += [row * np.cos(m * azimuth)] + ([row * np.sin(m * azimuth)] if m else [])
        if len(waves) >= count:
            break
    return radial[..., None] * np.stack(waves[:count], 1)[:, None]


def _regressor(
    template: np.ndarray,
    joints: np.ndarray,
    skin_ids: np.ndarray,
    eyes: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    regressor = np.zeros((5, len(template)))
    for joint, reach in ((0, 0.08), (1, 0.08), (2, 0.085)):
        distance = np.linalg.norm(template[skin_ids] - joints[joint], axis=1)
        near = skin_ids[distance < reach]
        regressor[joint, near] = joint_row(template[near], joints[joint])
    for joint, ids in zip((3, 4), eyes, strict=True):
        regressor[joint, ids] = 1 / len(ids)
    return regressor


def _landmarks(
    template: np.ndarray, faces: np.ndarray, eyes: tuple[np.ndarray, np.ndarray]
) -> Landmarks:
    """Vertices in the order of iBUG's 68 by a rough map of the face, then both irises."""
    row, column = np.divmod(np.arange(68), 17)
    x = np.linspace(-0.062, 0.062, 17)[column]  # the first are on the character's right
    wanted = np.stack((x, np.array([-0.06, 0.05, 0.0, -0.045])[row], np.full(68, 0.09)), 1)
    n_skin = eyes[0][0]
    distance = np.linalg.norm(template[None, :n_skin] - wanted[:, None], axis=-1)
    vertices = np.append(distance.argmin(1), (eyes[1][0], eyes[0][0]))
    incident = [np.argwhere(faces == vertex)[0] for vertex in vertices]
    weights = np.eye(3)[[corner for _, corner in incident]]
    at_faces = torch.tensor([int(face) for face, _ in incident])
    weights = _float(weights)
    contour = at_faces[:17].expand(79, 17).clone(), weights[:17].expand(79, 17, 3).clone()
    return Landmarks(at_faces, weights, *contour)


def _float(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).float()
