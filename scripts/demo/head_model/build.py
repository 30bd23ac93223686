"""The head model put together: mesh, eyeballs, rig, blendshapes, landmarks and regions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from scene.head.model import HeadModel, Landmarks
from scripts.demo.head_model import features
from scripts.demo.head_model.cut import Cut, cut_head
from scripts.demo.head_model.motion import (
    average_person,
    expression_fields,
    hinge,
    identity_fields,
    modes,
)
from scripts.demo.head_model.rigging import (
    EXPRESSION_NAMES,
    JAW,
    LEFT_EYE,
    NECK,
    PARENTS,
    RIGHT_EYE,
    ROOT,
    corrective,
    jaw_motion,
    jaw_offset,
    joint_row,
    neck_ramp,
    skin_table,
    skinning_fit,
    sphere,
)
from scripts.demo.head_model.source import LICENCE, Source, joint_cube

IDENTITIES = 100  # as many as IMavatar's layout has
METRE = 0.1  # of MakeHuman's decimetres
EYES_AT = np.array([0.0, 0.030, 0.038])  # metres; where FLAME has the middle between the eyes
EYE_RINGS = np.array([0.15, 0.16, 0.27, 0.40, 0.41, 0.6, 0.8, 1.05, 1.35, 1.7, 2.1, 2.6])  # radians
EYE_COLUMNS = 20
NECK_SHARE = 0.4  # of the way from MakeHuman's neck joint to the head joint: our neck joint
# The neck bends between two planes that rise to the back, from the collar to the skull (metres).
NECK_STARTS, NECK_ENDS = np.array([0, -0.1275, -0.048]), np.array([0, -0.066, -0.025])
JAW_REACH, NECK_REACH, EYE_HELPERS = 0.045, 0.08, ("helper-l-eye", "helper-r-eye")


@dataclass(frozen=True)
class Eyeball:
    """A sphere whose radius and place vary with identity and that stays a sphere."""

    centre: np.ndarray  # (3,) metres
    directions: np.ndarray  # (M, 3) unit vectors from the centre
    vertices: np.ndarray  # (M, 3) metres
    faces: np.ndarray  # (T, 3)
    identities: np.ndarray  # (M, 3, K) metres


@dataclass(frozen=True)
class Assembly:
    """The mesh: what was cut out of the body, and behind it the left and the right eyeball."""

    source: Source
    body: np.ndarray  # (B, 3) the average person, decimetres
    cut: Cut
    eyes: tuple[Eyeball, Eyeball]
    origin: np.ndarray  # (3,) of the metres, in the body's decimetres
    template: np.ndarray  # (V, 3) metres
    faces: np.ndarray  # (F, 3)
    eye_ids: tuple[np.ndarray, np.ndarray]
    identities: np.ndarray  # (V, 3, K) metres

    def metres(self, points: np.ndarray) -> np.ndarray:
        return METRE * (points - self.origin)

    def on_head(self, field: np.ndarray) -> np.ndarray:
        """A displacement (B, 3) of the body on the head (V, 3), in metres; the eyeballs stay."""
        moved = np.zeros_like(self.template)
        moved[: len(self.cut.ends)] = METRE * self.cut.take(field)
        return moved

    @property
    def skin_side(self) -> np.ndarray:
        """Positions of everything but the eyeballs."""
        return self.template[: len(self.cut.ends)]


@dataclass(frozen=True)
class Rig:
    joints: np.ndarray  # (5, 3) metres
    weights: np.ndarray  # (V, 5)
    ramp: np.ndarray  # (V,) from neck 0 to head 1
    opening: np.ndarray  # (V, 3) what jawOpen does
    angle: float  # of the jaw that is as open
    lower_teeth: np.ndarray  # vertex ids


def build(source: Source) -> HeadModel:
    """The head model, float32, from the opened archive."""
    mesh = _assemble(source)
    rig = _rig(mesh)
    expressions, lids = _expressions(mesh, rig)
    marks, masks, colors = _features(mesh, rig, lids)
    uv, uv_faces = _texture(mesh.cut, mesh.eyes)
    return HeadModel(
        template=_tensor(mesh.template),
        faces=torch.from_numpy(mesh.faces),
        shape_basis=_tensor(modes(mesh.identities, mesh.template, IDENTITIES)),
        expression_basis=_tensor(expressions),
        pose_basis=_tensor(_jaw_basis(mesh, rig)),
        joint_regressor=_tensor(_regressor(mesh, rig.joints)),
        skin_weights=_tensor(rig.weights),
        parents=PARENTS,
        landmarks=marks,
        masks={name: torch.from_numpy(ids) for name, ids in masks.items()},
        uv=_tensor(uv),
        uv_faces=torch.from_numpy(uv_faces),
        colors=_tensor(colors),
        eyelids=_tensor(lids),
        expression_names=EXPRESSION_NAMES,
        jaw_open_angle=rig.angle,
        licence=LICENCE,
    )


def _assemble(source: Source) -> Assembly:
    body = average_person(source)
    cut = cut_head(source, body)
    fields = identity_fields(source)
    helpers = [source.ids(group) for group in EYE_HELPERS]
    middle = np.mean([_fit_sphere(body[ids])[0] for ids in helpers], 0)
    origin = middle - EYES_AT / METRE
    left, right = (_eyeball(METRE * (body[i] - origin), METRE * fields[i]) for i in helpers)
    head = METRE * (cut.take(body) - origin)
    first, second = len(head), len(head) + len(left.vertices)
    return Assembly(
        source=source,
        body=body,
        cut=cut,
        eyes=(left, right),
        origin=origin,
        template=np.vstack((head, left.vertices, right.vertices)),
        faces=np.vstack((cut.faces, left.faces + first, right.faces + second)),
        eye_ids=(np.arange(first, second), np.arange(second, second + len(right.vertices))),
        identities=np.concatenate((METRE * cut.take(fields), left.identities, right.identities)),
    )


def _rig(mesh: Assembly) -> Rig:
    """Joints, and weights of a neck that bends and a jaw whose axis the lower teeth show."""
    source, template = mesh.source, mesh.template
    upper, lower = mesh.cut.parts["upper_teeth"], mesh.cut.parts["lower_teeth"]
    opening = mesh.on_head(source.symmetric(source.face_unit("jawOpen")))
    pivot, angle = hinge(template[lower], (template + opening)[lower])
    cubes = (mesh.body[joint_cube(source, f"joint-{n}")].mean(0) for n in ("neck", "head"))
    root, skull = (mesh.metres(cube) for cube in cubes)
    neck = root + NECK_SHARE * (skull - root)
    ramp = neck_ramp(template, NECK_STARTS, NECK_ENDS)
    jaw = skinning_fit(template, opening, pivot, angle)
    jaw[upper], jaw[lower] = 0, 1
    joints = np.stack((root, neck, pivot, *(eye.centre for eye in mesh.eyes)))
    return Rig(joints, skin_table(ramp, jaw, mesh.eye_ids), ramp, opening, angle, lower)


def _expressions(mesh: Assembly, rig: Rig) -> tuple[np.ndarray, np.ndarray]:
    """The expression basis (V, 3, 50), and of it the two blinks (2, V, 3) as eyelid shapes.

    ARKit's mouthClose is the difference between an open jaw with closed lips and the open jaw. In
    a skinned model the jaw turns it along, so it is stored turned back.
    """
    fields = np.moveaxis(expression_fields(mesh.source, mesh.body), -1, 0)
    basis = np.stack([mesh.on_head(field) for field in fields], -1)
    close = EXPRESSION_NAMES.index("mouthClose")
    linear, _ = jaw_motion(rig.weights[:, JAW], rig.joints[JAW], 0, rig.angle)
    basis[..., close] = np.linalg.solve(linear, basis[..., close, None])[..., 0]
    blinks = [EXPRESSION_NAMES.index(name) for name in ("eyeBlinkLeft", "eyeBlinkRight")]
    return basis, basis[..., blinks].transpose(2, 0, 1)


def _features(
    mesh: Assembly, rig: Rig, lids: np.ndarray
) -> tuple[Landmarks, dict[str, np.ndarray], np.ndarray]:
    """Landmarks, masks and colours (V, 3)."""
    cut, head = mesh.cut, mesh.skin_side
    ramp = rig.ramp[: len(head)]
    irises = mesh.eye_ids[0][0], mesh.eye_ids[1][0]
    marks = features.landmark_vertices(mesh.source, cut, irises)
    masks = features.regions(mesh.source, cut, head, ramp, lids[:, : len(head)], marks)
    brows = np.stack((marks[17:22], marks[22:27]))
    skin_colors = features.head_colors(mesh.source, cut, head, ramp, masks, brows)
    colors = np.vstack((skin_colors, *(features.eye_colors(e.directions) for e in mesh.eyes)))
    visible = features.jaw_line_candidates(head, masks, ramp, EYES_AT[1])
    contours = features.jaw_lines(head, visible, cut.mirror, EYES_AT[1])
    marks[:17] = contours[0]
    masks |= {"left_eyeball": mesh.eye_ids[0], "right_eyeball": mesh.eye_ids[1]}
    return _landmarks(mesh.faces, marks, contours), masks, colors


def _fit_sphere(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre and radius of the least squares sphere through (N, 3) points."""
    system = np.hstack((2 * points, np.ones((len(points), 1))))
    solution = np.linalg.lstsq(system, (points**2).sum(1), rcond=None)[0]
    return solution[:3], float(np.sqrt(solution[3] + solution[:3] @ solution[:3]))


def _eyeball(helper: np.ndarray, fields: np.ndarray) -> Eyeball:
    """A finer sphere for MakeHuman's eye helper (H, 3), whose `fields` (H, 3, K) it follows."""
    centre, radius = _fit_sphere(helper)
    outward = (helper - centre) / np.linalg.norm(helper - centre, axis=1, keepdims=True)
    directions, faces = sphere(np.zeros(3), 1.0, EYE_RINGS, EYE_COLUMNS)
    # Shift and growth that explain a field best, with the growth along the outward direction.
    system = np.concatenate((np.tile(np.eye(3), (len(helper), 1)), outward.reshape(-1, 1)), axis=1)
    motion = np.linalg.lstsq(system, fields.reshape(-1, fields.shape[-1]), rcond=None)[0]
    followed = motion[:3] + directions[..., None] * motion[3]
    return Eyeball(centre, directions, centre + radius * directions, faces, followed)


def _jaw_basis(mesh: Assembly, rig: Rig) -> np.ndarray:
    """Pose basis (V, 3, 36): at the rig's angle the open jaw is jawOpen, exactly.

    A jaw that turns sideways is what jawLeft and jawRight have of opposite directions; the push
    forward that both have in common stays in the expression jawForward.
    """
    jaw, pivot, lower = rig.weights[:, JAW], rig.joints[JAW], rig.lower_teeth
    left, right = (mesh.source.face_unit(name) for name in ("jawLeft", "jawRight"))
    sideways = mesh.on_head((left - right) / 2)
    arm = mesh.template[lower, 2].mean() - pivot[2]
    turn = np.arcsin(sideways[lower, 0].mean() / arm)
    opened = jaw_offset(mesh.template, rig.opening, jaw, pivot, 0, rig.angle)
    turns = [jaw_offset(mesh.template, s * sideways, jaw, pivot, 1, s * turn) for s in (1, -1)]
    return corrective(opened, 0, rig.angle) + corrective((turns[0] - turns[1]) / 2, 1, turn)


def _regressor(mesh: Assembly, joints: np.ndarray) -> np.ndarray:
    """Each joint from the vertices around it, so that it follows identity and expression."""
    skin, template = mesh.cut.parts["skin"], mesh.template
    offset = template[skin] - joints[JAW]
    beside_jaw = (np.abs(offset[:, 0]) > 0.04) & (np.hypot(*offset[:, 1:].T) < JAW_REACH)
    near = {
        ROOT: skin[np.linalg.norm(template[skin] - joints[ROOT], axis=1) < NECK_REACH],
        NECK: skin[np.linalg.norm(template[skin] - joints[NECK], axis=1) < NECK_REACH],
        JAW: skin[beside_jaw],
        LEFT_EYE: mesh.eye_ids[0],
        RIGHT_EYE: mesh.eye_ids[1],
    }
    regressor = np.zeros((len(joints), len(template)))
    for joint, ids in near.items():
        regressor[joint, ids] = joint_row(template[ids], joints[joint])
    return regressor


def _landmarks(faces: np.ndarray, marks: np.ndarray, jaw_lines: np.ndarray) -> Landmarks:
    """Each landmark vertex as a corner of one of its triangles."""

    def corner(vertices: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        found = {v: np.argwhere(faces == v)[0] for v in np.unique(vertices)}
        pairs = np.array([found[v] for v in vertices.ravel()]).reshape(*vertices.shape, 2)
        return torch.from_numpy(pairs[..., 0]), _tensor(np.eye(3)[pairs[..., 1]])

    return Landmarks(*corner(marks), *corner(jaw_lines))


def _texture(cut: Cut, eyes: tuple[Eyeball, Eyeball]) -> tuple[np.ndarray, np.ndarray]:
    uv, faces = [features.head_texture(cut)], [cut.uv_faces]
    for eye, box in zip(eyes, features.EYE_ATLAS, strict=True):
        faces.append(eye.faces + sum(map(len, uv)))
        uv.append(features.eye_texture(eye.directions, box))
    return np.vstack(uv), np.vstack(faces)


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
