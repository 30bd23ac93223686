"""Once rows grow no more, those that hardly show are dropped: a third of a model or more."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gaussian_renderer import Render, heaviest, weights
from scene.gaussian_model import GaussianTable
from training.optimizers import Optimizers
from training.strategies import Every, Strategy

MOST_LOOKS = 200  # steps whose views say what shows


def growing(strategy: Strategy) -> Strategy:
    """What grows the rows of a strategy that may be `Thinned`."""
    return strategy.growing if isinstance(strategy, Thinned) else strategy


class Thinned:
    """A strategy after whose growth the `share` of the rows is dropped that makes up least of the
    views of the steps `looks`, by the sum of their blending weights."""

    def __init__(self, growing: Strategy, share: float, looks: Every) -> None:
        self.growing, self.share, self.looks = growing, share, looks
        self.weight = torch.zeros(0)  # (N,) over the views seen so far
        self._seen: list[Render] = []

    def observe(self, renders: list[Render]) -> None:
        self.growing.observe(renders)
        self._seen = renders

    def update(self, step: int, table: GaussianTable, optimizers: Optimizers) -> None:
        if self.looks(step):
            self._weigh()
        self._seen = []
        # before the others prune: then the weights would no longer say whose they are
        if step == self.looks.end and len(self.weight) == len(table):
            table.keep(heaviest(self.weight, self.share), optimizers)
        self.growing.update(step, table, optimizers)

    def state(self) -> dict[str, Tensor]:
        return {**self.growing.state(), "weight": self.weight}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.weight = state["weight"].clone()
        self.growing.load_state({k: v for k, v in state.items() if k != "weight"})

    def _weigh(self) -> None:
        """Add what the views of this step show. Where rows came or went since, begin afresh."""
        for seen in self._seen:
            found = weights(seen.camera, seen.gaussians, antialiased=seen.antialiased)
            if len(self.weight) != len(found):
                self.weight = torch.zeros_like(found)
            self.weight += found
