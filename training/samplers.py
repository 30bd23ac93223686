"""Samplers choose the frames of every step, complete with camera, size and background.

A frame that brings its own background, a picture of another size or no picture at all is drawn as
it says. What is chosen is a function of seed, stage and step, so a resumed run sees what an
unbroken one would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Protocol

import torch

from scene.frames import Frame
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


def shrunk(frame: Frame, longest: int) -> Frame:
    """The frame in a size whose sides are at most `longest` pixels."""
    camera = frame.camera
    factor = longest / max(camera.width, camera.height)
    if factor >= 1:
        return frame
    width, height = (max(round(side * factor), 1) for side in (camera.width, camera.height))
    return replace(frame, camera=camera.resized(width, height))
