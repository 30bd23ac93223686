"""The toy at one time: a tin robot that swings its arms and nods, gears, a rolling ball.

World units, z up, the robot looks along -y. Everything moves smoothly and returns to its start, so
the video loops; nothing travels further than about 0.6 units.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scripts.demo.robot.shapes import BALL, CUBE, CUSHION, ROD, Paint, Shape, Solid
from scripts.demo.robot.textures import checks, plain, spot, stand, stripes, tin, wedges

Pose = NDArray[np.float64]

FLOOR = -0.7  # height of the stand's top
STAND_RADIUS = 1.05

STEEL = Paint(plain("9aa5b1"), gloss=0.7, sharpness=60)
DARK = Paint(plain("30343b"), gloss=0.2)
BRASS = Paint(plain("d3a23c"), gloss=0.7, sharpness=50)
TEAL = Paint(tin("2f9e94", seam="17544f", heights=(-0.2, 0.2), width=0.03), gloss=0.35)
CREAM = Paint(plain("f3e6c4"), gloss=0.2)
RED = Paint(plain("d8402f"), gloss=0.6, sharpness=60)


def toy(time: float) -> list[Solid]:
    """Every solid of the scene at `time` in [0, 1]."""
    swing = np.sin(2 * np.pi * time)
    torso = move(0, 0, FLOOR + 0.5) @ turn("z", 0.16 * swing)
    return [
        _solid(
            "stand",
            ROD,
            move(0, 0, FLOOR - 0.06),
            (STAND_RADIUS, STAND_RADIUS, 0.06),
            Paint(stand(STAND_RADIUS), gloss=0.1),
        ),
        *_legs(),
        *_body(torso, time),
        *_head(torso @ move(0, 0, 0.44), time),
        *_arm(torso, "left", 1.0, 0.5 * swing),
        *_arm(torso, "right", -1.0, -0.5 * swing),
        *_balloon(torso, time),
        *_gears(move(-0.86, 0.2, FLOOR) @ turn("z", 0.45), time),
        *_blocks(),
        _ball(time),
    ]


def move(x: float, y: float, z: float) -> Pose:
    """A shift in world units."""
    pose = np.eye(4)
    pose[:3, 3] = x, y, z
    return pose


def turn(axis: str, angle: float) -> Pose:
    """A right-handed rotation by `angle` radians about one axis."""
    pose, (i, j) = np.eye(4), {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    pose[i, i] = pose[j, j] = np.cos(angle)
    pose[j, i], pose[i, j] = np.sin(angle), -np.sin(angle)
    return pose


def _solid(
    name: str, shape: Shape, pose: Pose, half: tuple[float, float, float], paint: Paint
) -> Solid:
    return Solid(name, shape, pose, np.asarray(half, float), paint)


def _legs() -> list[Solid]:
    shoes = Paint(stripes("b5382f", "8e2a24", axis=1, period=0.16), gloss=0.4)
    solids = []
    for side, x in (("left", 0.19), ("right", -0.19)):
        solids += [
            _solid(
                f"{side} foot", CUSHION, move(x, -0.05, FLOOR + 0.08), (0.15, 0.21, 0.08), shoes
            ),
            _solid(f"{side} leg", ROD, move(x, 0, FLOOR + 0.2), (0.08, 0.08, 0.1), STEEL),
        ]
    return solids


def _body(torso: Pose, time: float) -> list[Solid]:
    dial = Paint(wedges("f3e6c4", "e8873a", count=4, hub=0.025, hub_color="30343b"), gloss=0.2)
    chest = torso @ move(0, -0.25, 0.05)
    upright = turn("x", np.pi / 2)
    # The key is the same after half a turn, so the loop closes.
    key = torso @ move(0, 0.25, 0.05) @ turn("y", np.pi * time)
    hand = chest @ move(0.1, -0.045, 0.02) @ turn("y", 0.9 * np.sin(2 * np.pi * time + 1))
    return [
        _solid("body", CUSHION, torso, (0.36, 0.26, 0.31), TEAL),
        _solid("chest", CUBE, chest, (0.24, 0.025, 0.15), CREAM),
        _solid("dial", ROD, chest @ move(0.1, -0.02, 0.02) @ upright, (0.1, 0.1, 0.02), dial),
        _solid("dial hand", CUBE, hand @ move(0, 0, 0.035), (0.013, 0.01, 0.05), DARK),
        *(
            _solid(
                f"button {i}",
                BALL,
                chest @ move(-0.16 + 0.09 * i, -0.03, -0.06),
                (0.035,) * 3,
                Paint(plain(color), gloss=0.6),
            )
            for i, color in enumerate(("d8402f", "f0c75e"))
        ),
        _solid(
            "grill",
            CUBE,
            chest @ move(-0.11, -0.02, 0.06),
            (0.08, 0.02, 0.05),
            Paint(stripes("30343b", "9aa5b1", axis=2, period=0.04)),
        ),
        _solid("key shaft", ROD, key @ move(0, 0.1, 0) @ upright, (0.03, 0.03, 0.1), BRASS),
        *(
            _solid(
                f"key wing {x}", ROD, key @ move(x, 0.2, 0) @ upright, (0.11, 0.11, 0.025), BRASS
            )
            for x in (-0.12, 0.12)
        ),
    ]


def _head(neck: Pose, time: float) -> list[Solid]:
    phase = 2 * np.pi * time
    head = (
        neck
        @ move(0, 0, 0.16 + 0.02 * np.sin(2 * phase))
        @ turn("z", 0.3 * np.sin(phase + 0.6))
        @ turn("y", 0.12 * np.cos(phase))
        @ turn("x", 0.1 * np.sin(2 * phase))
    )
    gaze = turn("z", 0.45 * np.sin(phase + 1.4))
    eye = Paint(
        spot("fbfaf2", "1d2b3a", toward=(0, -1, -0.05), angle=0.55), gloss=0.7, sharpness=80
    )
    skin = Paint(tin("e3b23c", seam="9a6f1b", heights=(-0.16,), width=0.03), gloss=0.35)
    teeth = Paint(stripes("f8f4e6", "30343b", axis=0, period=0.06, duty=0.3))
    smile = 0.03 + 0.018 * np.sin(phase + 2.5)
    solids = [
        _solid("neck", ROD, neck @ move(0, 0, -0.08), (0.1, 0.1, 0.1), STEEL),
        _solid("head", CUSHION, head, (0.31, 0.24, 0.22), skin),
        _solid("mouth", CUBE, head @ move(0, -0.235, -0.1), (0.14, 0.02, smile), teeth),
        _solid("antenna", ROD, head @ move(0, 0, 0.28), (0.022, 0.022, 0.1), STEEL),
        _solid("antenna ball", BALL, head @ move(0, 0, 0.41), (0.065,) * 3, RED),
    ]
    for side, x in (("left", 1), ("right", -1)):
        ear = head @ move(0.31 * x, 0, 0) @ turn("y", np.pi / 2)
        solids += [
            _solid(f"{side} eye", BALL, head @ move(0.125 * x, -0.2, 0.05) @ gaze, (0.1,) * 3, eye),
            _solid(f"{side} ear", ROD, ear, (0.085, 0.085, 0.045), RED),
        ]
    return solids


def _arm(torso: Pose, side: str, x: float, angle: float) -> list[Solid]:
    shoulder = torso @ move(0.41 * x, 0, 0.17) @ turn("x", angle)
    elbow = shoulder @ move(0, 0, -0.25) @ turn("x", 0.7)
    wrist = elbow @ move(0, 0, -0.24)
    sleeve = Paint(stripes("9aa5b1", "6b7683", axis=2, period=0.07), gloss=0.5)
    return [
        _solid(f"{side} shoulder", BALL, shoulder, (0.11,) * 3, TEAL),
        _solid(f"{side} upper arm", ROD, shoulder @ move(0, 0, -0.13), (0.06, 0.06, 0.13), sleeve),
        _solid(f"{side} elbow", BALL, elbow, (0.075,) * 3, BRASS),
        _solid(f"{side} forearm", ROD, elbow @ move(0, 0, -0.12), (0.055, 0.055, 0.12), sleeve),
        _solid(f"{side} hand", BALL, wrist, (0.095,) * 3, RED),
        *(
            _solid(
                f"{side} finger {y}", CUSHION, wrist @ move(0, y, -0.09), (0.05, 0.03, 0.07), RED
            )
            for y in (-0.055, 0.055)
        ),
    ]


def _balloon(torso: Pose, time: float) -> list[Solid]:
    """A balloon on a string tied to the robot's back corner, drifting in a slow circle."""
    phase = 2 * np.pi * time
    foot = (torso @ move(0.3, 0.2, 0.29))[:3, 3]
    knot = np.array([0.6 + 0.05 * np.cos(phase), 0.34 + 0.05 * np.sin(phase), FLOOR + 1.17])
    along = knot - foot
    length = float(np.linalg.norm(along))
    lean = turn("z", np.arctan2(along[1], along[0])) @ turn("y", np.arccos(along[2] / length))
    string = move(*(foot + knot) / 2) @ lean
    skin = Paint(stripes("e4572e", "f6c667", axis=2, period=0.3, duty=0.4), gloss=0.9, sharpness=90)
    tilt = move(*knot) @ turn("y", 0.15 + 0.08 * np.cos(phase)) @ turn("x", -0.08 * np.sin(phase))
    return [
        _solid("string", ROD, string, (0.012, 0.012, length / 2), CREAM),
        _solid("balloon", BALL, tilt @ move(0, 0, 0.25), (0.22, 0.22, 0.27), skin),
    ]


def _gears(post: Pose, time: float) -> list[Solid]:
    """Two meshed gears on posts; radii 2 : 1, teeth 12 : 6, so speeds 1 : -2."""
    upright = turn("y", np.pi / 2)
    big, small = post @ move(0, 0, 0.42), post @ move(0, -0.42, 0.42)
    quarter = np.pi / 2 * time  # four wedges look the same after a quarter turn: the loop closes
    return [
        _solid("big post", CUBE, post @ move(0.09, 0, 0.22), (0.035, 0.06, 0.22), DARK),
        _solid("small post", CUBE, post @ move(0.09, -0.42, 0.22), (0.035, 0.05, 0.22), DARK),
        *_gear("big gear", big @ turn("x", quarter) @ upright, 0.26, 12, ("7d5ba6", "b79ad6")),
        *_gear(
            "small gear",
            small @ turn("x", -2 * quarter + np.pi / 6) @ upright,
            0.12,
            6,
            ("e8873a", "f6cf9a"),
        ),
    ]


def _gear(name: str, pose: Pose, radius: float, teeth: int, colors: tuple[str, str]) -> list[Solid]:
    face = Paint(wedges(*colors, count=4, hub=radius * 0.3, hub_color="d3a23c"), gloss=0.4)
    tooth = Paint(plain(colors[0]), gloss=0.4)
    return [
        _solid(name, ROD, pose, (radius, radius, 0.05), face),
        *(
            _solid(
                f"{name} teeth {i}",
                CUBE,
                pose @ turn("z", np.pi * 2 * i / teeth),
                (radius + 0.05, 0.03, 0.04),
                tooth,
            )
            for i in range(teeth // 2)
        ),
    ]


def _blocks() -> list[Solid]:
    """Still wooden blocks behind the robot: something for it to hide."""
    return [
        _solid(
            "block 0",
            CUSHION,
            move(-0.3, 0.74, FLOOR + 0.17) @ turn("z", 0.3),
            (0.17,) * 3,
            Paint(checks("f4ead2", "3d7dbf", period=0.22)),
        ),
        _solid(
            "block 1",
            CUSHION,
            move(0.12, 0.78, FLOOR + 0.17) @ turn("z", -0.2),
            (0.17,) * 3,
            Paint(stripes("f4ead2", "4f9d4a", axis=0, period=0.15)),
        ),
        _solid(
            "block 2",
            CUSHION,
            move(-0.1, 0.76, FLOOR + 0.48) @ turn("z", 0.6),
            (0.14,) * 3,
            Paint(wedges("f4ead2", "d8402f", count=3)),
        ),
    ]


def _ball(time: float) -> Solid:
    """A beach ball rolling to and fro on an arc around the robot, without slipping."""
    radius, path = 0.17, 0.82
    angle = -0.75 + 0.36 * np.sin(2 * np.pi * time)
    around = turn("z", angle)
    # It rolls along the tangent, so it spins about the outward direction, the local x axis.
    roll = turn("x", -path * (angle + 0.75) / radius)
    skin = Paint(wedges("f8f4e6", "2f6fc0", count=3, hub=0.06, hub_color="d8402f"), gloss=0.5)
    return _solid(
        "ball",
        BALL,
        around @ move(path, 0, FLOOR + radius) @ roll @ turn("y", 0.5),
        (radius,) * 3,
        skin,
    )
