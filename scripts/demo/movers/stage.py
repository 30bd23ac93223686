"""What stands still: a floor that shows nothing but shadows, and things at its rim.

World z is up, the floor's top is z = 0, and all that moves stays within `REACH` of the z axis.
"""

from __future__ import annotations

import numpy as np

from scripts.demo.robot.shapes import BALL, CUSHION, ROD, Array, Paint, Solid
from scripts.demo.robot.textures import checks, plain, stripes, wedges
from scripts.demo.robot.toy import Pose, move, turn

FLOOR_RADIUS = 3.2  # world units; every camera has all of it before itself
REACH = 2.1  # of the movers' surfaces, world units from the z axis
RIM = 2.65  # distance of the still things' centres from the z axis
COLORS = ("d8402f", "2f6fc0", "2f9e94", "e8873a", "7d5ba6", "4f9d4a", "c2377e", "b59a1e")
PALE = "f4ead2"


def draw_colors(rng: np.random.Generator) -> list[str]:
    """The colours in an order of the seed: the movers take the first, still things the last."""
    return [COLORS[i] for i in rng.permutation(len(COLORS))]


def ball(name: str, pose: Pose, radius: float, paint: Paint) -> Solid:
    """A ball; the turn in `pose` (4, 4) shows where the paint has a pattern."""
    return Solid(name, BALL, pose, np.full(3, radius), paint)


def stage(rng: np.random.Generator, colors: list[str]) -> list[Solid]:
    """The floor and three things at its rim."""
    third = 2 * np.pi / 3
    first = rng.uniform(0, third)
    angles = [first + third * (k + rng.uniform(-0.25, 0.25)) for k in range(3)]
    paints = (
        checks(PALE, colors[-1], period=0.3),
        stripes(PALE, colors[-2], axis=0, period=0.2),
        wedges(PALE, colors[-3], count=3),
    )
    things = []
    for k, (shape, angle, paint) in enumerate(
        zip((CUSHION, CUSHION, ROD), angles, paints, strict=True)
    ):
        wide, high = rng.uniform(0.22, 0.3), rng.uniform(0.22, 0.45)
        place = turn("z", angle) @ move(RIM, 0, high) @ turn("z", rng.uniform(0, np.pi))
        things.append(Solid(f"thing {k}", shape, place, np.array([wide, wide, high]), Paint(paint)))
    return [_floor(), *things]


def _floor() -> Solid:
    half = np.array([FLOOR_RADIUS, FLOOR_RADIUS, 0.01])
    return Solid("floor", ROD, move(0, 0, -0.01), half, Paint(_paper, gloss=0))


def _paper(points: Array, normals: Array) -> Array:
    """White: in full light the top cannot be told from the background, and the rim never can."""
    return np.where(normals[:, 2:] > 0.5, plain("ffffff")(points, normals), np.float32(8))
