"""Samplers choose the frames of every step, complete with camera, size and background.

A frame that brings its own background, a picture of another size or no picture at all is drawn as
it says. What is chosen is a function of seed, stage and step, so a resumed run sees what an
unbroken one would have seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Protocol

import torch

from scene.cameras import Camera
from scene.flow import following
from scene.frames import Frame
from scene.paths import look_at
from utils.random import generator


class Sampler(Protocol):
    """`sampler(frames, stage, seed, start)` gives the frames of step `start + 1`, then the next."""

    views: int  # of a step, at most: what memory must hold

    def __call__(
        self, frames: list[Frame], stage: str, seed: int, start: int
    ) -> Iterator[list[Frame]]: ...


@dataclass(frozen=True)
class Shuffled:
    """Every frame once per pass, each pass in a new random order."""

    views: int = 1
    choose: Callable[[list[Frame]], list[Frame]] = lambda frames: frames  # those that take part

    def __call__(
        self, frames: list[Frame], stage: str, seed: int, start: int
    ) -> Iterator[list[Frame]]:
        frames = self.choose(frames)
        epoch, place = divmod(start * self.views, len(frames))
        batch: list[Frame] = []
        while True:
            order = torch.randperm(len(frames), generator=generator(seed, stage, "order", epoch))
            for k in order[place:].tolist():
                batch.append(frames[k])
                if len(batch) == self.views:
                    yield batch
                    batch = []
            epoch, place = epoch + 1, 0


def first_moment(frames: list[Frame]) -> list[Frame]:
    """The frames of the earliest moment."""
    earliest = min(frame.time for frame in frames)
    return [frame for frame in frames if frame.time == earliest]


Choose = Callable[[list[Frame]], list[Frame]]


def moments_apart(every: int) -> tuple[Choose, Choose]:
    """To choose the frames of one in `every` moments, and those of the others; of a clip that is
    too short for that, all frames both times."""

    def apart(frames: list[Frame], chosen: bool) -> list[Frame]:
        held = set(sorted({frame.time for frame in frames})[every // 2 :: every])
        found = [frame for frame in frames if (frame.time in held) == chosen]
        return found if held else frames

    return partial(apart, chosen=True), partial(apart, chosen=False)


@dataclass(frozen=True)
class GrowingWindow:
    """Frames of a window of time that grows, small pictures of them.

    What moves is nearly still in a short window, where several cameras see it; from there it is
    followed. While the window grows, `edge` of the steps show its first or last moments.
    """

    window: Callable[[int], tuple[float, float]]  # step to the first and the last time in it
    longest: int  # side of a picture, pixels, at most
    edge: float = 0.3
    views: int = 1
    choose: Callable[[list[Frame]], list[Frame]] = lambda frames: frames  # those that take part

    def __call__(
        self, frames: list[Frame], stage: str, seed: int, start: int
    ) -> Iterator[list[Frame]]:
        frames = self.choose(frames)
        ordered = sorted((shrunk(frame, self.longest) for frame in frames), key=lambda f: f.time)
        for step in count(start + 1):
            low, high = self.window(step)
            middle = (low + high) / 2
            seen = [frame for frame in ordered if low <= frame.time <= high]
            seen = seen or sorted(ordered, key=lambda f: abs(f.time - middle))[:FEWEST]
            source = generator(seed, stage, "window", step)
            whole = low <= ordered[0].time and high >= ordered[-1].time
            where, which = torch.rand(2, generator=source).tolist()
            if where < self.edge and not whole:
                seen = seen[:FEWEST] if which < 0.5 else seen[-FEWEST:]
            chosen = torch.randint(len(seen), (self.views,), generator=source)
            yield [seen[k] for k in chosen.tolist()]


FEWEST = 6  # frames at an edge of a window


@dataclass(frozen=True)
class Windows:
    """Small pictures of moments in a row, and at every other step of as many moments that are far
    apart, without their flow: what a slow camera sees in a moment says little of depth. Every
    window once per pass, each pass in a new random order. Of a rig, those of one camera or of near
    ones."""

    views: int
    longest: int  # side of a picture, pixels, at most

    def __call__(
        self, frames: list[Frame], stage: str, seed: int, start: int
    ) -> Iterator[list[Frame]]:
        small = [shrunk(frame, self.longest) for frame in frames]
        still = [replace(frame, flow=None) for frame in small]
        n_moments = len({frame.time for frame in frames})
        length = min(self.views, n_moments)
        far = max((n_moments - 1) // max(length - 1, 1), 1)
        after = following(frames)
        rows, spreads = (
            Shuffled()(_chains(after, length, hop), f"{stage} {hop}", seed, begun)
            for hop, begun in ((1, (start + 1) // 2), (far, start // 2))
        )
        for step in count(start):
            ((window,), shown) = (next(spreads), still) if step % 2 else (next(rows), small)
            yield [shown[k] for k in window]


def _chains(after: list[int], length: int, hop: int) -> list[list[int]]:
    """All rows of `length` numbers of frames of which each is `hop` moments after the last."""
    found = [[k] for k in range(len(after))]
    for _ in range(length - 1):
        for chain in found:
            place = chain[-1]
            for _ in range(hop):
                place = after[place] if place >= 0 else -1
            chain.append(place)
    return [chain for chain in found if chain[-1] >= 0]


@dataclass(frozen=True)
class TwoBackgrounds:
    """Frames on white at even steps and on black at odd ones, so that nothing half-transparent
    pays (NPG)."""

    inner: Sampler

    @property
    def views(self) -> int:
        return self.inner.views

    def __call__(
        self, frames: list[Frame], stage: str, seed: int, start: int
    ) -> Iterator[list[Frame]]:
        for step, batch in enumerate(self.inner(frames, stage, seed, start), start=start + 1):
            colour = torch.full((3,), float(step % 2 == 0))
            yield [replace(frame, background=colour) for frame in batch]


def shrunk(frame: Frame, longest: int) -> Frame:
    """The frame in a size whose sides are at most `longest` pixels."""
    camera = frame.camera
    factor = longest / max(camera.width, camera.height)
    if factor >= 1:
        return frame
    width, height = (max(round(side * factor), 1) for side in (camera.width, camera.height))
    return replace(frame, camera=camera.resized(width, height))


@dataclass(frozen=True)
class Imagined(Frame):
    """A view of a side that no picture shows, of a moment that another frame's picture shows."""

    likeness: Frame | None = None  # that frame, without its pixels
    moment: tuple[Frame, ...] = ()  # all frames of its moment that train, without theirs


@dataclass(frozen=True)
class Orbits:
    """Where imagined views stand: all around, up to `SWING` degrees above and below both the
    horizon and the filmed view; in front of black or white (STAG4D)."""

    side: Callable[[int], int]  # step to the pixels of a side
    black: float = 0.5  # share of views in front of black
    by_anchor: float = 0.4  # share of those from aside whose likeness is the nearest generated view


SWING, STEEPEST = 30.0, 80.0  # degrees
FRONT = 30.0  # degrees to either side, where the filmed view is always the likeness


@dataclass(frozen=True)
class Draws:
    """`draws` moments per step: of each its filmed view, `anchors` of its generated views, and one
    imagined view where there are `orbits` (STAG4D). The subject is at the origin, y is up."""

    draws: int = 1
    anchors: int = 1
    orbits: Orbits | None = None
    moment: float | None = None  # the only moment, as a part of the clip; None: all, each in turn

    @property
    def views(self) -> int:
        return self.draws * (1 + self.anchors + (self.orbits is not None))

    def __call__(
        self, frames: list[Frame], stage: str, seed: int, start: int
    ) -> Iterator[list[Frame]]:
        moments = _by_moment(frames)
        if self.moment is not None:
            moments = moments[int(self.moment * (len(moments) - 1) + 0.5) :][:1]
        chosen = Shuffled(self.draws)(moments, stage, seed, start)
        for step, drawn in enumerate(chosen, start=start + 1):
            source = generator(seed, stage, "draws", step)
            yield [frame for moment in drawn for frame in self._draw(moment, step, source)]

    def _draw(self, moment: list[Frame], step: int, source: torch.Generator) -> list[Frame]:
        filmed = next((f for f in moment if f.role == "reference"), moment[0])
        anchors = [f for f in moment if f.role == "anchor"]
        order = torch.randperm(len(anchors), generator=source).tolist()
        views = [filmed, *(anchors[k] for k in order[: self.anchors])]
        if self.orbits is not None:
            views.append(self._imagine(self.orbits, filmed, anchors, step, source))
        return views

    @staticmethod
    def _imagine(
        orbits: Orbits, filmed: Frame, anchors: list[Frame], step: int, source: torch.Generator
    ) -> Imagined:
        around, above, behind, whose = torch.rand(4, generator=source).tolist()
        radius, azimuth, elevation = seen_from(filmed.camera)
        low = max(min(elevation - SWING, -SWING), -STEEPEST)
        high = min(max(elevation + SWING, SWING), STEEPEST)
        a = math.radians(azimuth + 360 * around - 180)
        e = math.radians(low + (high - low) * above)
        eye = [math.cos(e) * math.sin(a), math.sin(e), math.cos(e) * math.cos(a)]
        viewmat = look_at(radius * torch.tensor(eye), torch.zeros(3), torch.tensor([0.0, 1.0, 0.0]))
        side = orbits.side(step)
        camera = replace(filmed.camera.resized(side, side), viewmat=viewmat)
        likeness = filmed
        if anchors and abs(360 * around - 180) >= FRONT and whose < orbits.by_anchor:
            likeness = min(anchors, key=lambda f: abs(turn(f.camera, camera)))
        return Imagined(
            camera,
            filmed.index,
            filmed.time,
            role="orbit",
            background=torch.full((3,), float(behind >= orbits.black)),
            likeness=likeness,
            moment=(filmed, *anchors),
        )


def _by_moment(frames: list[Frame]) -> list[list[Frame]]:
    """Frames of one moment together, in the order of time."""
    found: dict[float, list[Frame]] = {}
    for frame in sorted(frames, key=lambda frame: frame.time):
        found.setdefault(frame.time, []).append(frame)
    return list(found.values())


def seen_from(camera: Camera) -> tuple[float, float, float]:
    """Distance from the origin, azimuth from +z towards +x, elevation above; degrees."""
    x, y, z = camera.center.tolist()
    radius = math.hypot(x, y, z)
    return radius, math.degrees(math.atan2(x, z)), math.degrees(math.asin(y / radius))


def turn(one: Camera, other: Camera) -> float:
    """Degrees of azimuth from one camera to the other, in [-180, 180)."""
    return (seen_from(other)[1] - seen_from(one)[1] + 180) % 360 - 180
