"""A stage names what to optimise, which pose to use, which losses to add up, and how rows grow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scene.frames import Frame
from scene.gaussian_model import Gaussians
from training.optimizers import ParamGroup
from training.schedules import Schedule
from training.strategies import Strategy
from utils.random import generator

if TYPE_CHECKING:
    from gaussian_renderer import Render


@dataclass(frozen=True)
class Loss:
    """One term of the sum: `weight(step) * fn(renders, frames)`."""

    name: str
    weight: Schedule
    fn: Callable[[list[Render], list[Frame]], Tensor]

    def __call__(self, renders: list[Render], frames: list[Frame], step: int) -> Tensor:
        return self.weight(step) * self.fn(renders, frames)


Sampler = Callable[["Stage", list[Frame], int, int], Iterator[list[Frame]]]


def shuffled(stage: Stage, frames: list[Frame], seed: int, start: int) -> Iterator[list[Frame]]:
    """Batches from step `start` on: every frame once per pass, each pass in a new random order.

    The order is a function of seed, stage and pass, so a resumed run sees the batches of an unbroken one.
    """
    epoch, place = divmod(start * stage.batch_size, len(frames))
    batch: list[Frame] = []
    while True:
        order = torch.randperm(len(frames), generator=generator(seed, stage.name, "order", epoch))
        for k in order[place:].tolist():
            batch.append(frames[k])
            if len(batch) == stage.batch_size:
                yield batch
                batch = []
        epoch, place = epoch + 1, 0


def first_moment(stage: Stage, frames: list[Frame], seed: int, start: int) -> Iterator[list[Frame]]:
    """`shuffled` over the frames of the earliest moment only."""
    earliest = min(frame.time for frame in frames)
    return shuffled(stage, [frame for frame in frames if frame.time == earliest], seed, start)


@dataclass(frozen=True)
class Stage:
    """A span of steps with its own pose, losses and strategy."""

    name: str
    iterations: int
    pose: Callable[[Frame], Gaussians]
    params: list[ParamGroup]
    losses: list[Loss]
    strategy: Strategy
    background: Callable[[int], Tensor]  # step -> (3,) behind every picture
    batch_size: int = 1
    sampler: Sampler = shuffled
    begin: Callable[[], None] = lambda: None
    only_drawn: bool = False  # rows of the table that no view of a step drew skip the optimizer's step

    def drawn(self, renders: list[Render], n_rows: int) -> Tensor | None:
        """(N,) which rows a step moves; None for all, also right after rows came or went."""
        if not self.only_drawn or len(renders[0].radii) != n_rows:
            return None
        return torch.stack([render.radii > 0 for render in renders]).any(0)
