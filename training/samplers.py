"""Samplers choose the frames of every step, complete with camera, size and background.

A frame that brings its own background, a picture of another size or no picture at all is drawn as
it says. What is chosen is a function of seed, stage and step, so a resumed run sees what an
unbroken one would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
