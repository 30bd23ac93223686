"""The six scenes: what moves, and how. Time runs over [0, 1]; lengths are world units.

A scene is a function of a random generator, which draws its path, colours and sizes, to what
stands still and to a function from time to what moves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scripts.demo.movers.stage import PALE, ball, draw_colors, stage
from scripts.demo.robot.shapes import CUBE, Array, Paint, Solid
from scripts.demo.robot.textures import Color, plain, rgb, stripes
from scripts.demo.robot.toy import move, turn

TURN = 2 * np.pi


@dataclass(frozen=True)
class Scene:
    """What stands still, and what moves at a time."""

    still: list[Solid]
    movers: Callable[[float], list[Solid]]


def scene(name: str, seed: int) -> Scene:
    """The scene of that name in `SCENES`; a seed draws another path, other colours and sizes."""
    return SCENES[name](np.random.default_rng([seed, *name.encode()]))


def fast(rng: np.random.Generator) -> Scene:
    """A ball that moves by its own size every few moments, a hundredth of the box."""
    colors, radius = draw_colors(rng), rng.uniform(0.52, 0.6)
    start, reach = rng.uniform(), rng.uniform(1.0, 1.06)
    heading, height = turn("z", rng.uniform(0, TURN)), rng.uniform(0, TURN)
    # Within this of 0 the ball never turns back in x and y at once, and so never stops.
    phases = np.array([0, rng.uniform(-0.15, 0.15), height])
    paint = Paint(plain(colors[0]), gloss=0.5)

    def movers(time: float) -> list[Solid]:
        x, y, z = np.sin(TURN * np.array([3, 4, 2]) * (time + start) + phases)
        place = heading @ move(reach * x, reach * y, radius + 0.4 * (1.1 + z))
        return [ball("ball", place, radius, paint)]

    return Scene(stage(rng, colors), movers)


def occlusion(rng: np.random.Generator) -> Scene:
    """A ball that goes round a wall: each camera loses it for a while."""
    colors, radius = draw_colors(rng), rng.uniform(0.36, 0.44)
    wall, phase, sense = turn("z", rng.uniform(0, TURN)), rng.uniform(0, TURN), rng.choice((-1, 1))
    wide, high = rng.uniform(0.95, 1.1), rng.uniform(0.75, 0.9)
    bricks = Paint(stripes(PALE, colors[1], axis=2, period=0.3), gloss=0.1)
    half = np.array([wide, 0.08, high])
    paint = Paint(plain(colors[0]), gloss=0.5)

    def movers(time: float) -> list[Solid]:
        angle = sense * TURN * time + phase
        height = radius + 0.1 + 0.15 * (1 + np.sin(2 * angle))
        return [
            ball(
                "ball",
                wall @ move(1.6 * np.cos(angle), 0.95 * np.sin(angle), height),
                radius,
                paint,
            )
        ]

    return Scene(
        [*stage(rng, colors), Solid("wall", CUBE, wall @ move(0, 0, high), half, bricks)], movers
    )


def scale(rng: np.random.Generator) -> Scene:
    """A ball that grows to four times its width and shrinks again, twice."""
    colors, small = draw_colors(rng), rng.uniform(0.18, 0.22)
    phase, path = rng.uniform(0, TURN), rng.uniform(0.8, 1.1)
    paint = Paint(plain(colors[0]), gloss=0.5)

    def movers(time: float) -> list[Solid]:
        radius = small * 4 ** (0.5 - 0.5 * np.cos(2 * TURN * time + phase))
        place = turn("z", TURN * time + 2 * phase) @ move(path, 0, 1)
        return [ball("ball", place, radius, paint)]

    return Scene(stage(rng, colors), movers)


def texture(rng: np.random.Generator) -> Scene:
    """A checkered ball that rolls around on the floor, fast and without slipping."""
    colors, radius = draw_colors(rng), rng.uniform(0.5, 0.58)
    path, phase, sense = rng.uniform(1.3, 1.5), rng.uniform(0, TURN), rng.choice((-1, 1))
    paint, start = Paint(globe(colors[0], PALE, n_sectors=16), gloss=0.3), rng.uniform(0, TURN)

    def movers(time: float) -> list[Solid]:
        angle = sense * 2 * TURN * time
        # It rolls along the tangent, so it spins about the outward direction, the local x axis.
        roll = turn("x", -path * angle / radius) @ turn("y", start)
        return [
            ball("ball", turn("z", angle + phase) @ move(path, 0, radius) @ roll, radius, paint)
        ]

    return Scene(stage(rng, colors), movers)


def split(rng: np.random.Generator) -> Scene:
    """A ball that divides into two, which move apart and become one again; its volume stays."""
    colors, whole = draw_colors(rng), rng.uniform(0.56, 0.64)
    heading, swing = rng.uniform(0, TURN), rng.uniform(-0.8, 0.8)
    farthest, paint = rng.uniform(2.0, 2.4), Paint(plain(colors[0]), gloss=0.5)

    def movers(time: float) -> list[Solid]:
        apart = farthest * (0.5 - 0.5 * np.cos(TURN * time))
        middle = move(0, 0, 1) @ turn("z", heading + swing * time)
        radius = radius_of_halves(whole, apart)
        return [
            ball(f"half {k}", middle @ move(side * apart / 2, 0, 0), radius, paint)
            for k, side in enumerate((-1, 1))
        ]

    return Scene(stage(rng, colors), movers)


def twins(rng: np.random.Generator) -> Scene:
    """Two balls that look alike and swap places, twice."""
    colors, radius = draw_colors(rng), rng.uniform(0.36, 0.44)
    axis, phase = turn("z", rng.uniform(0, TURN)), rng.uniform(0, TURN)
    long, short = rng.uniform(1.4, 1.6), rng.uniform(0.55, 0.65)
    paint = Paint(plain(colors[0]), gloss=0.5)

    def movers(time: float) -> list[Solid]:
        angle = TURN * time + phase
        x, y, z = long * np.cos(angle), short * np.sin(angle), 0.25 * np.sin(3 * angle)
        return [
            ball(f"twin {k}", axis @ move(side * x, side * y, 0.75 + side * z), radius, paint)
            for k, side in enumerate((-1, 1))
        ]

    return Scene(stage(rng, colors), movers)


SCENES = {make.__name__: make for make in (fast, occlusion, scale, texture, split, twins)}


def radius_of_halves(whole: float, apart: float) -> float:
    """Radius at which two balls, centres `apart`, fill together what one of radius `whole` does.

    Two balls of radius r whose centres are d < 2r apart fill pi (4/3 r³ + r² d - d³/12); beyond
    that they do not meet.
    """
    alone = whole * 0.5 ** (1 / 3)
    if apart >= 2 * alone:
        return alone
    # One change of sign: exactly one positive root.
    roots = np.roots([4 / 3, apart, 0, -(apart**3 / 12 + 4 / 3 * whole**3)])
    return float(roots.real.max())


def globe(a: str, b: str, *, n_sectors: int) -> Color:
    """Squares between meridians and parallels of a ball, `n_sectors` around its z axis."""

    def color(points: Array, normals: Array) -> Array:
        size = np.float32(TURN / n_sectors)
        east = np.arctan2(points[:, 1], points[:, 0]) / size
        north = np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1])) / size
        odd = (np.floor(east) + np.floor(north)).astype(np.int32) % 2
        return np.stack([rgb(a), rgb(b)])[odd]

    return color
