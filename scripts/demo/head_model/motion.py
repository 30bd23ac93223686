"""How the head varies and moves: identity modes, expressions, jaw, on the body's vertices."""

from __future__ import annotations

import re

import numpy as np

from scripts.demo.head_model.rigging import EXPRESSION_NAMES
from scripts.demo.head_model.source import Source

ETHNICITIES = ("african", "asian", "caucasian")
GENDERS = ("female", "male")
SPLIT = ("browInnerUp", "cheekPuff")  # one unit for both sides
SPLIT_WIDTH = 0.15  # decimetres from the middle to where a half of a split unit is whole
MOVES_THE_HEAD = re.compile(r"head-trans|head-angle")  # a pose and not a shape
FEATURES = (
    "head",
    "forehead",
    "eyebrows",
    "eyes",
    "nose",
    "cheek",
    "mouth",
    "chin",
    "ears",
    "neck",
)
# Standard deviations of MakeHuman's sliders, whose range is [-1, 1]; of the shapes that only add,
# such as head-oval; and of the body's macro parameters. Chosen so that the first mode moves the
# face by about 3 mm, as in scans.
SLIDER, ADDITIVE, MACRO = 0.20, 0.15, 0.45


def average_person(source: Source) -> np.ndarray:
    """The body (V, 3) of the mean of both genders and three ethnicities at 25 years, symmetric."""
    mean = sum(
        source.target(f"macrodetails/{ethnicity}-{gender}-young") / 6
        for ethnicity in ETHNICITIES
        for gender in GENDERS
    )
    build = sum(source.target(_build(gender, "average", "average")) / 2 for gender in GENDERS)
    return source.symmetric(source.vertices + mean + build)


def identity_fields(source: Source) -> np.ndarray:
    """Symmetric displacements (V, 3, M), each times the standard deviation of its parameter."""
    fields = _macro_fields(source)
    for folder in FEATURES:
        names = [n for n in source.targets(folder) if not MOVES_THE_HEAD.search(n)]
        for name in names:
            opposite = _opposite(name)
            side = name.split("/")[1][:2]
            if side == "r-" or (opposite in names and opposite < name):
                continue  # counted with its partner
            field = source.target(name)
            if side == "l-":
                field = field + source.target(_other_side(name))
            if opposite in names:
                back = source.target(opposite)
                back = back + source.target(_other_side(opposite)) if side == "l-" else back
                fields.append(SLIDER * (field - back) / 2)
            else:
                fields.append(ADDITIVE * field)
    return np.stack([source.symmetric(field) for field in fields], -1)


def modes(fields: np.ndarray, positions: np.ndarray, count: int) -> np.ndarray:
    """The `count` strongest principal modes (V, 3, count) of the fields (V, 3, M) of a head.

    They are orthogonal, strongest first, and scaled for coefficients of unit variance. Rigid
    motions at the positions (V, 3) are taken out: a pose is no identity.
    """
    flat = fields.reshape(-1, fields.shape[-1])
    rigid = np.linalg.qr(_rigid_motions(positions))[0]
    flat = flat - rigid @ (rigid.T @ flat)
    variance, vectors = np.linalg.eigh(flat.T @ flat)
    # Rounded, so that the last bits, which depend on the number of threads, do not reach the file.
    strongest = np.round(vectors[:, np.argsort(-variance)[:count]], 6)
    found = (flat @ strongest).reshape(*positions.shape, -1)
    # A sign that both sides agree on: x is opposite on the left and the right.
    upright = found[:, 1:].reshape(-1, found.shape[-1])
    largest = np.take_along_axis(upright, np.abs(upright).argmax(0)[None], 0)
    return found * np.sign(largest)


def expression_fields(source: Source, body: np.ndarray) -> np.ndarray:
    """The 50 named expressions (V, 3, 50); left and right mirror each other exactly."""
    return np.stack([_expression(source, body, name) for name in EXPRESSION_NAMES], -1)


def hinge(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, float]:
    """Pivot (3,) (x = 0) and angle about +x of the rigid motion between two point sets (N, 3)."""
    a, b = (points - points.mean(0) for points in (before, after))
    angle = np.arctan2((a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1]).sum(), (a[:, 1:] * b[:, 1:]).sum())
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s], [s, c]])
    shift = after.mean(0)[1:] - turn @ before.mean(0)[1:]
    return np.array([0.0, *np.linalg.solve(np.eye(2) - turn, shift)]), float(angle)


def _expression(source: Source, body: np.ndarray, name: str) -> np.ndarray:
    stem = name.removesuffix("Left").removesuffix("Right")
    if stem in SPLIT:
        t = np.clip(body[:, :1] / (2 * SPLIT_WIDTH) + 0.5, 0, 1)
        left = t * t * (3 - 2 * t)
        share = left if name.endswith("Left") else 1 - left
        return share * source.symmetric(source.face_unit(stem))
    if stem == name:
        return source.symmetric(source.face_unit(name))
    other = stem + ("Right" if name.endswith("Left") else "Left")
    return (source.face_unit(name) + source.mirrored(source.face_unit(other))) / 2


def _macro_fields(source: Source) -> list[np.ndarray]:
    """Gender, ethnicity, age, muscle and weight, as differences from the average person."""

    def kind(ethnicity: str, gender: str, age: str = "young") -> np.ndarray:
        return source.target(f"macrodetails/{ethnicity}-{gender}-{age}")

    by_ethnicity = {e: sum(kind(e, g) for g in GENDERS) / 2 for e in ETHNICITIES}
    mean = sum(by_ethnicity.values()) / 3
    genders = {g: sum(kind(e, g) for e in ETHNICITIES) / 3 for g in GENDERS}
    build = {g: source.target(_build(g, "average", "average")) for g in GENDERS}
    old = sum(kind(e, g, "old") for e in ETHNICITIES for g in GENDERS) / 6
    fields = [by_ethnicity[e] - mean for e in ETHNICITIES]
    fields.append((genders["male"] + build["male"] - genders["female"] - build["female"]) / 2)
    fields.append(old - mean)
    for most, least in ((("max", "average"), ("min", "average")),
                        (("average", "max"), ("average", "min"))):  # fmt: skip
        ends = ([source.target(_build(g, *end)) for g in GENDERS] for end in (most, least))
        high, low = (sum(end) / 2 for end in ends)
        fields.append((high - low) / 2)
    return [MACRO * field for field in fields]


def _build(gender: str, muscle: str, weight: str) -> str:
    return f"macrodetails/universal-{gender}-young-{muscle}muscle-{weight}weight"


OPPOSITES = {"incr": "decr", "up": "down", "in": "out", "forward": "backward", "convex": "concave",
             "uncompress": "compress"}  # fmt: skip
OPPOSITES |= {second: first for first, second in OPPOSITES.items()}


def _opposite(name: str) -> str:
    """'nose/nose-hump-incr' to 'nose/nose-hump-decr', '' where there is none."""
    stem, _, last = name.rpartition("-")
    return f"{stem}-{OPPOSITES.get(last, last)}" if last in OPPOSITES else ""


def _other_side(name: str) -> str:
    return name.replace("/l-", "/r-")


def _rigid_motions(positions: np.ndarray) -> np.ndarray:
    """Columns "3V 6": three translations and three infinitesimal rotations about the middle."""
    shifts = [np.broadcast_to(axis, positions.shape) for axis in np.eye(3)]
    turns = [np.cross(axis, positions - positions.mean(0)) for axis in np.eye(3)]
    return np.stack([field.reshape(-1) for field in (*shifts, *turns)], 1)
