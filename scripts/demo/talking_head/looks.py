"""How the demo head looks: procedural colours, two lights, and which part of a face each sample is.

Patterns live on the head's rest shape (metres), so they stick to the skin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scene.head.model import HeadModel
from scripts.demo.talking_head import torso
from scripts.demo.talking_head.mesh import Array, Hits, unit, vertex_normals

GAMMA = 2.2
SKIN, HAIR, LIPS, INSIDE = (
    (0.86, 0.70, 0.62),
    (0.27, 0.20, 0.15),
    (0.74, 0.43, 0.41),
    (0.30, 0.10, 0.10),
)
TOOTH, GUM = (0.95, 0.93, 0.87), (0.76, 0.40, 0.40)
SCLERA, IRIS, RING, PUPIL = (0.96, 0.95, 0.94), (0.30, 0.45, 0.52), (0.10, 0.16, 0.20), (0.03,) * 3
PUPIL_ANGLE, IRIS_ANGLE = 0.17, 0.42  # radians from the eye's axis
TOOTH_WIDTH, GUM_PART = 0.0075, 0.35  # metres; part of the height of a row of teeth
THROAT, LIT = (
    0.025,
    0.075,
)  # metres: how far to the front light reaches nothing, and everything, in a mouth
BROW_REACH = 0.0055  # metres from the line through the brow's landmarks

# Towards two lights in the camera's axes (x right, y down, z forward), and their linear colours.
LIGHTS = unit(np.array([[-0.5, -0.6, -0.8], [0.8, -0.2, -0.6]]))
LIGHT_COLORS = np.array([[0.62, 0.59, 0.55], [0.16, 0.18, 0.21]])
AMBIENT = np.array([0.34, 0.34, 0.36])
SHARPNESS = 90

# CelebAMask's numbers, which IMavatar's `semantic` pictures hold; left is the character's own.
LABELS = {"background": 0, "skin": 1, "left_brow": 2, "right_brow": 3, "left_eye": 4,
          "right_eye": 5, "left_ear": 7, "right_ear": 8, "nose": 10, "mouth": 11,
          "upper_lip": 12, "lower_lip": 13, "neck": 14, "cloth": 16,
          "hair": 17}  # fmt: skip
# Regions of the head model by the part that they are; later ones win where regions overlap.
REGIONS = {"neck": "neck", "scalp": "hair", "nose": "nose", "left_ear": "left_ear",
           "right_ear": "right_ear", "mouth_interior": "mouth", "teeth": "mouth",
           "tongue": "mouth", "eye_sockets": "skin", "left_eyeball": "left_eye",
           "right_eyeball": "right_eye"}  # fmt: skip
SKINLIKE = ("skin", "nose", "left_ear", "right_ear", "neck")
GLOSS = {"left_eye": 0.30, "right_eye": 0.30, "mouth": 0.10, "upper_lip": 0.10, "lower_lip": 0.10,
         "skin": 0.03, "nose": 0.05}  # fmt: skip


@dataclass(frozen=True)
class Looks:
    """What `shade` needs of a head, fixed for all frames."""

    faces: np.ndarray  # (F, 3)
    rest: Array  # (V, 3) metres
    colors: Array  # (V, 3) linear RGB without the patterns
    part: np.ndarray  # (F,) uint8, values of LABELS
    gloss: Array  # (256,) by part
    eyes: dict[int, Array]  # part -> (V, 3) directions from that eye's centre
    teeth: tuple[Teeth, ...]

    @classmethod
    def of(cls, model: HeadModel, rest: Array) -> Looks:
        """The looks of a model whose rest shape is `rest` (V, 3)."""
        faces = model.faces.numpy()
        masks = {name: ids.numpy() for name, ids in model.masks.items()}
        marks = rest[faces[model.landmarks.faces]]
        marks = np.einsum("lk,lkc->lc", model.landmarks.weights.numpy(), marks)
        vertex_part = _vertex_parts(masks, rest, marks)
        if model.colors is None:
            colors = _plain_colors(vertex_part)
        else:
            colors = model.colors.double().numpy()
        gloss = np.zeros(256)
        for name, value in GLOSS.items():
            gloss[LABELS[name]] = value
        centres = model.joint_regressor.double().numpy()[3:] @ rest
        names = ("left_eye", "right_eye")
        eyes = {LABELS[n]: unit(rest - centre) for n, centre in zip(names, centres, strict=True)}
        return cls(faces, rest, colors**GAMMA, _face_parts(vertex_part, faces), gloss, eyes,
                   _rows_of_teeth(masks, rest, faces))  # fmt: skip

    def with_torso(self) -> Looks:
        """The same with a torso, whose vertices come after the head's."""
        vertices, faces = torso.mesh()
        n_faces, n = len(faces), len(vertices)
        cloth = np.full(n_faces, LABELS["cloth"], np.uint8)
        return replace(
            self,
            faces=np.concatenate((self.faces, faces + len(self.rest))),
            rest=np.concatenate((self.rest, vertices)),
            colors=np.concatenate((self.colors, np.zeros((n, 3)))),
            part=np.concatenate((self.part, cloth)),
            eyes={part: np.concatenate((v, np.zeros((n, 3)))) for part, v in self.eyes.items()},
            teeth=tuple(
                replace(row, faces=np.concatenate((row.faces, np.zeros(n_faces, bool))))
                for row in self.teeth
            ),
        )

    def parts(self, hits: Hits) -> np.ndarray:
        """The part (S,) that every sample shows; insides show as the mouth's."""
        part = self.part[hits.faces]
        outside = hits.front | (part == LABELS["cloth"])
        return np.where(outside, part, np.uint8(LABELS["mouth"]))

    def shade(self, hits: Hits, vertices: Array, viewmat: Array) -> Array:
        """Linear RGB (S, 3) of what is seen, for vertices (V, 3) in the world."""
        part = self.parts(hits)
        local = vertices @ viewmat[:3, :3].T + viewmat[:3, 3]
        of_vertices = vertex_normals(local, self.faces), local, self.colors, self.rest
        seen = hits.interpolate(np.concatenate(of_vertices, 1), self.faces)
        normals, places, colors, rest = np.split(seen, 4, axis=1)
        normals, to_camera = unit(normals), unit(-places)
        albedo = self._albedo(hits, part, colors.copy(), rest)
        light = np.tile(AMBIENT, (len(part), 1))
        shine = np.zeros((len(part), 1))
        for toward, color in zip(LIGHTS, LIGHT_COLORS, strict=True):
            light += np.maximum(normals @ toward, 0)[:, None] * color
            halfway = unit(toward + to_camera)
            gleam = np.maximum((normals * halfway).sum(1), 0) ** SHARPNESS
            shine += (self.gloss[part] * gleam * color[0])[:, None]
        outside = (hits.front | (part == LABELS["cloth"]))[:, None]
        return np.where(outside, albedo * light + shine, np.array(INSIDE) ** GAMMA)

    def _albedo(self, hits: Hits, part: np.ndarray, albedo: Array, rest: Array) -> Array:
        """Linear RGB (S, 3), the patterns added to `albedo`, by points (S, 3) of the rest shape."""
        skin = np.isin(part, [LABELS[name] for name in SKINLIKE])
        albedo[skin] *= 1 + 0.06 * _waves(rest[skin], 160) - 0.30 * _freckles(rest[skin])
        cloth = part == LABELS["cloth"]
        albedo[cloth] = torso.colors(rest[cloth]) ** GAMMA
        hair = part == LABELS["hair"]
        albedo[hair] *= 1 + 0.5 * _waves(rest[hair] * (1, 0.15, 0.4), 900)
        for label, directions in self.eyes.items():
            here = part == label
            albedo[here] = _eye(unit(hits.where(here).interpolate(directions, self.faces)))
        for row in self.teeth:
            here = row.faces[hits.faces]
            albedo[here] = row.albedo(rest[here])
        mouth = part == LABELS["mouth"]
        albedo[mouth] *= np.clip((rest[mouth, 2:] - THROAT) / (LIT - THROAT), 0.1, 1)
        return albedo


def _vertex_parts(masks: dict[str, np.ndarray], rest: Array, marks: Array) -> np.ndarray:
    parts = np.full(len(rest), LABELS["skin"], np.uint8)
    for region, name in REGIONS.items():
        parts[masks.get(region, [])] = LABELS[name]
    for name, line in (("right_brow", marks[17:22]), ("left_brow", marks[22:27])):
        t = np.linspace(0, len(line) - 1, 40)
        line = np.stack([np.interp(t, np.arange(len(line)), line[:, i]) for i in range(3)], 1)
        near = np.linalg.norm(rest[:, None] - line, axis=-1).min(1) < BROW_REACH
        parts[near & (parts == LABELS["skin"])] = LABELS[name]
    lips = masks.get("lips", np.zeros(0, int))
    upper = rest[lips, 1] > marks[60:68, 1].mean()  # the inner lips' middle
    parts[lips] = np.where(upper, LABELS["upper_lip"], LABELS["lower_lip"])
    return parts


def _face_parts(vertex_part: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The part that two corners share, else the first corner's."""
    a, b, c = vertex_part[faces].T
    return np.where(b == c, b, a)


def _plain_colors(vertex_part: np.ndarray) -> Array:
    """Colours of a model that has none."""
    colors = np.tile(SKIN, (len(vertex_part), 1))
    for names, color in ((("hair", "left_brow", "right_brow"), HAIR), (("mouth",), INSIDE),
                         (("upper_lip", "lower_lip"), LIPS)):  # fmt: skip
        colors[np.isin(vertex_part, [LABELS[name] for name in names])] = color
    return colors


@dataclass(frozen=True)
class Teeth:
    """One row of teeth."""

    faces: np.ndarray  # (F,) bool, which triangles of the head
    root: int  # 1 where the roots are above, -1 where below
    gum: float  # height where the gum begins, metres

    def albedo(self, points: Array) -> Array:
        """Linear RGB (S, 3): enamel with a dark line between neighbours, then gum."""
        phase = points[:, :1] / TOOTH_WIDTH
        line = np.exp(-(((phase - np.round(phase)) / 0.09) ** 2))
        enamel = np.array(TOOTH) ** GAMMA * (1 - 0.6 * line)
        beyond = self.root * (points[:, 1:2] - self.gum)
        share = np.clip(beyond / 0.001 + 0.5, 0, 1)
        return enamel + share * (np.array(GUM) ** GAMMA - enamel)


def _rows_of_teeth(
    masks: dict[str, np.ndarray], rest: Array, faces: np.ndarray
) -> tuple[Teeth, ...]:
    rows = []
    for name, root in (("upper_teeth", 1), ("lower_teeth", -1)):
        if name in masks:
            height = root * rest[masks[name], 1]
            gum = root * (height.max() - GUM_PART * np.ptp(height))
            rows.append(Teeth(np.isin(faces[:, 0], masks[name]), root, float(gum)))
    return tuple(rows)


def _eye(directions: Array) -> Array:
    """Linear RGB (S, 3) of an eyeball by unit directions (S, 3) from its centre; +z: its axis."""
    angle = np.arccos(np.clip(directions[:, 2:], -1, 1))
    around = np.arctan2(directions[:, 1:2], directions[:, :1])
    fibres = 1 + 0.25 * np.sin(17 * around) + 0.15 * np.sin(31 * around + 40 * angle)
    iris = np.array(IRIS) ** GAMMA * fibres
    rim = np.clip((angle - IRIS_ANGLE) / 0.06 + 1, 0, 1)
    color = iris + rim * (np.array(RING) ** GAMMA - iris)
    white = np.array(SCLERA) ** GAMMA * (1 - 0.12 * np.clip(angle - 0.6, 0, 1))
    color = color + np.clip((angle - IRIS_ANGLE) / 0.03 + 0.5, 0, 1) * (white - color)
    hole = np.clip((PUPIL_ANGLE - angle) / 0.03 + 0.5, 0, 1)
    return color + hole * (np.array(PUPIL) ** GAMMA - color)


def _waves(points: Array, frequency: float) -> Array:
    """Smooth noise (S, 1) in about [-1, 1]: a few sines at odd angles; radians per metre."""
    directions = np.array([[1.0, 0.3, -0.5], [-0.6, 1.0, 0.4], [0.3, -0.7, 1.0], [0.9, 0.8, 0.6]])
    phases = frequency * points @ (directions * [[1.0], [1.3], [1.7], [2.3]]).T + [
        0.0,
        1.0,
        2.5,
        4.0,
    ]
    return np.sin(phases).mean(1, keepdims=True) * 1.4


def _freckles(points: Array) -> Array:
    """Spots (S, 1) in [0, 1] here and there: where the noise is at its highest."""
    return np.clip((_waves(points, 420) - 0.92) / 0.20, 0, 1)
