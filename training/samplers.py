"""Samplers choose the frames of every step, complete with camera, size and background.

A frame that brings its own background, a picture of another size or no picture at all is drawn as
it says. What is chosen is a function of seed, stage and step, so a resumed run sees what an
unbroken one would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Protocol

import torch

from scene.flow import following
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

    def __call__(
        self, frames: list[Frame], stage: str, seed: int, start: int
    ) -> Iterator[list[Frame]]:
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
    """Frames of moments that follow each other, small pictures of them: every window once per
    pass, each pass in a new random order. Of a rig, those of one camera or of near ones."""

    views: int
    longest: int  # side of a picture, pixels, at most

    def __call__(
        self, frames: list[Frame], stage: str, seed: int, start: int
    ) -> Iterator[list[Frame]]:
        small = [shrunk(frame, self.longest) for frame in frames]
        after, length = following(frames), min(self.views, len({f.time for f in frames}))
        windows = [
            chain for k in range(len(frames)) if len(chain := _chain(k, after, length)) == length
        ]
        for (window,) in Shuffled()(windows, stage, seed, start):
            yield [small[k] for k in window]


def _chain(first: int, after: list[int], length: int) -> list[int]:
    """Up to `length` numbers of frames that follow each other."""
    found = [first]
    while len(found) < length and after[found[-1]] >= 0:
        found.append(after[found[-1]])
    return found


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
