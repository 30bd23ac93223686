"""Posed Gaussians that are kept: a moment that is seen again, in a loop or from another side, costs
its drawing alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import torch

from gaussian_renderer.show import Poses
from scene.facts import CARRIED
from scene.frames import Frame
from scene.gaussian_model import Gaussians

Moment = tuple[object, ...]


class Kept:
    """Poses frames as a trained model does, to the bit, and keeps what it posed.

    What no moment changes, such as colours, is kept once. Over the budget, moments go by chance: a
    loop that is longer than what fits still finds some of it, and what nobody wishes again is gone
    in the end.
    """

    def __init__(self, model: Poses, budget_mb: int) -> None:
        self.model, self.budget = model, budget_mb * 2**20
        self.used = 0  # bytes
        self._first: Gaussians | None = None
        self._posed: dict[Moment, Gaussians] = {}
        self._chance = random.Random(0)

    @torch.no_grad()
    def __call__(self, frame: Frame) -> Gaussians:
        moment = _moment(frame, with_place=self.model.sees_camera)
        if moment not in self._posed:
            posed = self.model(frame)
            if self._first is None:
                self._first = posed
                self.used = sum(each.nbytes for each in posed.tensors().values())
            posed = self._lean(posed)
            self._posed[moment] = posed
            self.used += self._own_bytes(posed)
            while self.used > self.budget and self._posed:
                self._drop()
            return posed
        return self._posed[moment]

    def _lean(self, posed: Gaussians) -> Gaussians:
        """The Gaussians, with those tensors of the first ones that they equal."""
        first = self._first.tensors()
        same = {k: first[k] for k, v in posed.tensors().items() if torch.equal(v, first[k])}
        return replace(posed, **same)

    def _own_bytes(self, posed: Gaussians) -> int:
        first = self._first.tensors()
        return sum(v.nbytes for k, v in posed.tensors().items() if v is not first[k])

    def _drop(self) -> None:
        place = self._chance.randrange(len(self._posed))
        self.used -= self._own_bytes(self._posed.pop(next(islice(self._posed, place, None))))


def come_again(model: Poses, frames: Sequence[Frame]) -> bool:
    """Whether some moment is among the frames more than once."""
    return len({_moment(frame, with_place=model.sees_camera) for frame in frames}) < len(frames)


def _moment(frame: Frame, *, with_place: bool) -> Moment:
    """All of a frame that a pose may depend on; with the camera's place where that is of it."""
    told = [getattr(frame, name) for name in CARRIED]
    if with_place:
        told.append(frame.camera.center)
    numbers = (None if each is None else each.cpu().numpy().tobytes() for each in told)
    return frame.index, frame.time, *numbers
