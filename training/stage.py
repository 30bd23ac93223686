"""A stage names what to optimise, which pose to use, which losses to add up, and how rows grow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gaussian_renderer import Render
from scene.frames import Frame
from scene.gaussian_model import Gaussians
from training.optimizers import ParamGroup
from training.samplers import Sampler, Shuffled
from training.schedules import Schedule
from training.strategies import Strategy


@dataclass(frozen=True)
class Loss:
    """One term of the sum: `weight(step) * fn(renders, frames, step)`."""

    name: str
    weight: Schedule
    fn: Callable[[list[Render], list[Frame], int], Tensor]

    def __call__(self, renders: list[Render], frames: list[Frame], step: int) -> Tensor:
        return self.weight(step) * self.fn(renders, frames, step)


@dataclass(frozen=True)
class Stage:
    """A span of steps with its own pose, losses and strategy."""

    name: str
    iterations: int
    pose: Callable[[Frame], Gaussians] | None  # None: nothing is drawn, losses get no renders
    params: list[ParamGroup]
    losses: list[Loss]  # none: nothing is learned
    strategy: Strategy
    sampler: Sampler = Shuffled()
    # Before the first step, not when the stage is resumed: fills tensors, does not rename them.
    # What it returns, if anything, is said in the log.
    begin: Callable[[], str | None] = lambda: None
    # Asked after `begin`, before the first step: the stage is passed over where it does not hold.
    needed: Callable[[], bool] = lambda: True
    # Told what every step drew, from which frames, and the step, without gradients.
    look: Callable[[list[Render], list[Frame], int], None] = lambda renders, frames, step: None
    # Terms of parameters alone by name: each adds its gradient to theirs after the backward pass of
    # the losses, and returns its value. For large tables, which autograd would pass over once more.
    pulls: Mapping[str, Callable[[], Tensor]] = field(default_factory=dict)
    # rows of the table that no view of a step drew skip the optimizer's step
    only_drawn: bool = False
    timed: bool = False  # the pose asks a frame for its time alone: frames of a moment share one
    holds: int = 0  # bytes beside the model, where it is: what a loss brings along
    sketch: bool = False  # it draws something else than the model: its pictures are not scored

    @property
    def terms(self) -> list[str]:
        """Names of all that is summed up."""
        return [*(term.name for term in self.losses), *self.pulls]

    def posed(self, frames: list[Frame]) -> list[Gaussians]:
        """The Gaussians of every frame."""
        if not self.timed:
            return [self.pose(frame) for frame in frames]
        moments = {frame.time: frame for frame in frames}
        found = {time: self.pose(frame) for time, frame in moments.items()}
        return [found[frame.time] for frame in frames]

    def drawn(self, renders: list[Render]) -> Tensor | None:
        """(N,) which rows a step moves; None for all."""
        if not (self.only_drawn and renders):
            return None
        return torch.stack([render.radii > 0 for render in renders]).any(0)
