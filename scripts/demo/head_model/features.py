"""Landmarks, regions, colours and the texture layout of the head; positions in metres."""

from __future__ import annotations

import numpy as np

from scripts.demo.head_model.cut import Cut
from scripts.demo.head_model.rigging import rotation_about
from scripts.demo.head_model.source import Source

# Vertices of MakeHuman's base mesh hm08 on the middle and the character's left, by iBUG index;
# picked by eye on the average person. The right side is their mirror image.
MIDDLE = {27: 132, 28: 135, 29: 164, 30: 294, 33: 343, 51: 455, 57: 492, 62: 468, 66: 493}
LEFT = {
    22: 6983, 23: 6997, 24: 6996, 25: 6998, 26: 6982,  # brow, inner to outer
    34: 7077, 35: 7055,  # under the nostril
    42: 6850, 43: 11483, 44: 11466, 45: 11472, 46: 6825, 47: 6831,  # eye, from the inner corner
    52: 7210, 53: 7170, 54: 7162, 55: 7166, 56: 7241,  # outer lip
    63: 7213, 64: 7188, 65: 7236,  # inner lip
}  # fmt: skip
RIGHT_OF = {
    **dict(zip(range(22, 27), range(21, 16, -1), strict=True)),
    **{34: 32, 35: 31, 42: 39, 43: 38, 44: 37, 45: 36, 46: 41, 47: 40},
    **{52: 50, 53: 49, 54: 48, 55: 59, 56: 58, 63: 61, 64: 60, 65: 67},
}
YAWS = 40  # degrees 0..39, one row of the contour table each
EAR_LEVEL = 0.012  # metres under the eyes' middle where the jaw line begins
EAR_BAND = 0.004  # metres to either side of that level
JAW_LINE_PITCH = 0.3  # radians from above
IN_FRONT = 0.1  # how much nearness to the camera counts beside nearness to the outline
# The face that may show as the jaw line: in front of the ears, without the neck (metres).
JAW_LINE_BACK = -0.045

SKIN, LIPS, HAIR, BROW = (
    (0.86, 0.70, 0.62),
    (0.74, 0.43, 0.41),
    (0.27, 0.20, 0.15),
    (0.36, 0.26, 0.20),
)
MOUTH, TEETH, TONGUE = (0.45, 0.17, 0.17), (0.93, 0.91, 0.85), (0.78, 0.42, 0.42)
SCLERA, IRIS, PUPIL = (0.95, 0.95, 0.95), (0.30, 0.42, 0.50), (0.03, 0.03, 0.03)
PUPIL_ANGLE, IRIS_ANGLE = 0.15, 0.40  # radians from the eye's axis
# The hairline (metres): hair is above HAIR_TOP and behind a line whose depth depends on the height.
HAIR_TOP, HAIR_SOFTNESS = 0.105, 0.006
HAIR_HEIGHTS, HAIR_DEPTHS = (-0.06, -0.01, 0.02, 0.06, 0.10), (-0.085, -0.055, -0.018, 0.002, 0.022)


def landmark_vertices(source: Source, cut: Cut, irises: tuple[int, int]) -> np.ndarray:
    """Rows (70,) of the fixed landmarks; the jaw line (0..16) stays 0. `irises`: left, right."""
    rows = np.zeros(70, int)
    for index, vertex in MIDDLE.items():
        rows[index] = cut.row(vertex)
    for index, vertex in LEFT.items():
        rows[index] = cut.row(vertex)
        rows[RIGHT_OF[index]] = cut.row(int(source.mirror[vertex]))
    rows[68], rows[69] = irises[1], irises[0]
    return rows


def jaw_lines(
    positions: np.ndarray, candidates: np.ndarray, mirror: np.ndarray, eye_height: float
) -> np.ndarray:
    """Vertices (79, 17) on the silhouette, by yaw as in FLAME's contour table.

    Seen from the front the line runs from ear to ear under the chin. With the head turned to its
    left, the left half is the silhouette seen then, and the right half stays.
    """
    halves = [_half_line(positions, candidates, yaw, eye_height) for yaw in range(YAWS)]
    front = halves[0]
    table = np.zeros((2 * YAWS - 1, 17), int)
    for row, half in enumerate(halves):
        table[row] = np.concatenate((mirror[front], half[-2::-1]))
        if row:
            table[YAWS - 1 + row] = np.concatenate((mirror[half], front[-2::-1]))
    return table


def jaw_line_candidates(
    positions: np.ndarray, masks: dict[str, np.ndarray], ramp: np.ndarray, eye_height: float
) -> np.ndarray:
    """Vertices of cheeks and jaw, without ears, neck and what lies inside."""
    outside = np.zeros(len(positions), bool)
    outside[masks["face"]] = outside[masks["scalp"]] = True
    low = positions[:, 1] < eye_height + 0.01
    return np.flatnonzero(outside & low & (positions[:, 2] > JAW_LINE_BACK) & (ramp > 0.97))


def _half_line(
    positions: np.ndarray, candidates: np.ndarray, yaw: int, eye_height: float
) -> np.ndarray:
    """Nine vertices on the left from the ear to the middle of the chin, evenly spaced as seen.

    Seen from a little above, where the edge of the jaw is the outline and what is under it is not.
    """
    turn = rotation_about(0, JAW_LINE_PITCH) @ rotation_about(1, np.radians(yaw))
    turned = positions[candidates] @ turn.T
    seen = turned[:, :2]
    middle = np.flatnonzero(np.abs(positions[candidates, 0]) < 1e-6)
    chin = middle[seen[middle, 1].argmin()]
    level = np.abs(positions[candidates, 1] - (eye_height - EAR_LEVEL)) < EAR_BAND
    ear = np.flatnonzero(level)[seen[level, 0].argmax()]
    outline = _lower_hull(seen, chin)
    below = outline[(seen[outline, 1] < seen[ear, 1]) & (seen[outline, 0] < seen[ear, 0])]
    path = seen[[*below, ear]]
    lengths = np.append(0, np.linalg.norm(np.diff(path, axis=0), axis=1).cumsum())
    wanted = np.linspace(lengths[-1], 0, 9)
    points = np.stack([np.interp(wanted, lengths, path[:, i]) for i in range(2)], 1)
    distance = np.linalg.norm(seen[None] - points[:, None], axis=-1)
    chosen = (distance - IN_FRONT * turned[None, :, 2]).argmin(1)
    chosen[0], chosen[-1] = ear, chin
    return candidates[chosen]


def _lower_hull(points: np.ndarray, start: int) -> np.ndarray:
    """Indices of the convex hull from `start` counter-clockwise to the right-most point."""
    chain = [start]
    while points[chain[-1], 0] < points[:, 0].max():
        ahead = points - points[chain[-1]]
        ahead_ids = np.flatnonzero(ahead[:, 0] > 1e-9)
        slope = np.arctan2(ahead[ahead_ids, 1], ahead[ahead_ids, 0])
        chain.append(int(ahead_ids[slope.argmin()]))
    return np.array(chain)


def texture_weights(source: Source, cut: Cut, name: str) -> np.ndarray:
    """MakeHuman's painted mask `name` at the cut's vertices (V,), in [0, 1]."""
    image = source.texture(name)
    height, width = image.shape
    columns = np.clip((cut.uv[:, 0] * width).astype(int), 0, width - 1)
    rows = np.clip(((1 - cut.uv[:, 1]) * height).astype(int), 0, height - 1)
    weights = np.zeros(len(cut.ends))
    weights[cut.faces] = image[rows, columns][cut.uv_faces]
    return (weights + weights[cut.mirror]) / 2


def regions(
    source: Source,
    cut: Cut,
    positions: np.ndarray,
    ramp: np.ndarray,
    lids: np.ndarray,
    landmarks: np.ndarray,
) -> dict[str, np.ndarray]:
    """Vertex ids by region, named as FLAME's where it has it. `lids`: blinks (2, V, 3)."""
    skin = np.isin(np.arange(len(cut.ends)), cut.parts["skin"])
    painted = {n: texture_weights(source, cut, n) > 0.5 for n in ("lips", "ears", "inside-mouth")}
    mouth, lips, ears = (skin & painted[n] for n in ("inside-mouth", "lips", "ears"))
    sockets = skin & _in_texture(cut, _SOCKETS)
    outside = skin & ~mouth & ~sockets
    neck = outside & (ramp < 0.9)
    moved = [outside & (np.linalg.norm(lid, axis=1) > 0.0005) for lid in lids]
    hair = outside & ~ears & ~neck & (hair_weights(positions, ramp) > 0.5)
    face = outside & ~ears & ~neck & ~hair
    nose = np.linalg.norm(positions[:, None] - positions[landmarks[27:36]][None], axis=-1).min(1)
    left = positions[:, 0] > 0
    named = {
        "face": face,
        "neck": neck,
        "scalp": hair,
        "forehead": face & (positions[:, 1] > positions[landmarks[24], 1]),
        "nose": face & (nose < 0.013) & ~lips,
        "lips": lips,
        "left_eye_region": moved[0],
        "right_eye_region": moved[1],
        "eye_region": moved[0] | moved[1],
        "left_ear": ears & left,
        "right_ear": ears & ~left,
        "mouth_interior": mouth,
        "eye_sockets": sockets,
    }
    ids = {name: np.flatnonzero(mask) for name, mask in named.items()}
    ids |= {name: part for name, part in cut.parts.items() if name != "skin"}
    ids["teeth"] = np.concatenate((cut.parts["upper_teeth"], cut.parts["lower_teeth"]))
    ids["boundary"] = cut.rim
    return ids


def hair_weights(positions: np.ndarray, ramp: np.ndarray) -> np.ndarray:
    """How much of each skin vertex (V,) is under hair, in [0, 1]; `ramp` is 0 down the neck."""
    _, y, z = positions.T
    behind = np.interp(y, HAIR_HEIGHTS, HAIR_DEPTHS) - z
    weights = np.clip(np.maximum(y - HAIR_TOP, behind) / HAIR_SOFTNESS + 0.5, 0, 1)
    return weights * np.clip((ramp - 0.7) / 0.3, 0, 1)


def head_colors(
    source: Source,
    cut: Cut,
    positions: np.ndarray,
    ramp: np.ndarray,
    masks: dict[str, np.ndarray],
    brows: np.ndarray,
) -> np.ndarray:
    """RGB (V, 3) in [0, 1] of the cut's vertices: parts, lips, hair and brows (rows (2, 5))."""
    hair = hair_weights(positions, ramp) * (1 - texture_weights(source, cut, "ears"))
    colors = _mix(np.tile(SKIN, (len(positions), 1)), HAIR, hair)
    along = np.concatenate([_polyline(positions[brow]) for brow in brows])
    distance = np.linalg.norm(positions[:, None] - along[None], axis=-1).min(1)
    colors = _mix(colors, BROW, np.clip((0.0055 - distance) / 0.002, 0, 1))
    colors = _mix(colors, LIPS, texture_weights(source, cut, "lips"))
    for name, color in (("mouth_interior", MOUTH), ("eye_sockets", MOUTH), ("teeth", TEETH),
                        ("tongue", TONGUE)):  # fmt: skip
        colors[masks[name]] = color
    return colors


def eye_colors(directions: np.ndarray) -> np.ndarray:
    """RGB (M, 3) of an eyeball's vertices by their direction (M, 3) from its centre."""
    angle = np.arccos(np.clip(directions[:, 2], -1, 1))
    colors = np.where((angle < IRIS_ANGLE)[:, None], IRIS, SCLERA)
    return np.where((angle < PUPIL_ANGLE)[:, None], PUPIL, colors)


def _mix(colors: np.ndarray, color: tuple, share: np.ndarray) -> np.ndarray:
    return colors + share[:, None] * (np.array(color) - colors)


def _polyline(points: np.ndarray) -> np.ndarray:
    """Points along a line through the given ones."""
    t = np.linspace(0, len(points) - 1, 8 * len(points))
    return np.stack([np.interp(t, np.arange(len(points)), points[:, i]) for i in range(3)], 1)


# Islands of the body's texture space (u0, v0, u1, v1), and where they go in the head's own.
_HEAD, _MOUTH, _SOCKETS = (0.63, 0.14, 1.0, 0.84), (0.74, 0.0, 1.0, 0.14), (0.0, 0.5, 0.16, 0.7)
_NECK = (0.2, 0.84, 0.6, 1.0)
ATLAS = {_HEAD: (0.0, 0.0, 0.54, 1.0), _NECK: (0.56, 0.0, 1.0, 0.2),
         _MOUTH: (0.56, 0.22, 0.77, 0.42), _SOCKETS: (0.79, 0.22, 1.0, 0.42)}  # fmt: skip
PART_ATLAS = {"upper_teeth": (0.56, 0.44, 0.77, 0.52), "lower_teeth": (0.79, 0.44, 1.0, 0.52),
              "tongue": (0.56, 0.54, 0.70, 0.76)}  # fmt: skip
EYE_ATLAS = ((0.72, 0.54, 0.85, 0.67), (0.87, 0.54, 1.0, 0.67))


def head_texture(cut: Cut) -> np.ndarray:
    """Texture coordinates (T, 2) in [0, 1]: the body's islands, enlarged to fill the square."""
    uv = np.full_like(cut.uv, np.nan)
    for part, box in PART_ATLAS.items():
        rows = np.unique(cut.uv_faces[np.isin(cut.faces[:, 0], cut.parts[part])])
        uv[rows] = _fit(cut.uv[rows], box)
    rest = np.isnan(uv[:, 0])
    for island, box in ATLAS.items():
        rows = np.flatnonzero(rest & _inside(cut.uv, island))
        uv[rows] = _fit(cut.uv[rows], box)
    return uv


def eye_texture(directions: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """Texture coordinates (M, 2) of an eyeball: a disc whose radius is the angle."""
    angle = np.arccos(np.clip(directions[:, 2], -1, 1))[:, None] / np.pi
    across = (
        directions[:, :2] / np.maximum(np.linalg.norm(directions[:, :2], axis=1), 1e-12)[:, None]
    )
    low, high = np.array(box[:2]), np.array(box[2:])
    return low + (high - low) * (0.5 + 0.5 * angle * across)


def _in_texture(cut: Cut, island: tuple[float, float, float, float]) -> np.ndarray:
    inside = np.zeros(len(cut.ends), bool)
    inside[cut.faces] = _inside(cut.uv, island)[cut.uv_faces]
    return inside


def _inside(uv: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    return ((uv >= box[:2]) & (uv < box[2:])).all(1)


def _fit(uv: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """Scale evenly and shift into a box."""
    low, size = uv.min(0), uv.max(0) - uv.min(0)
    room = np.array(box[2:]) - np.array(box[:2])
    return np.array(box[:2]) + (uv - low) * (room / size).min()
