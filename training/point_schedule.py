"""A table whose number of rows is a table in time (MonoGaussianAvatar, after PointAvatar)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gaussian_renderer import Render
from scene.gaussian_model import GaussianTable
from training.births import Rows
from training.optimizers import Optimizers
from utils.errors import InputError
from utils.random import generator

MASKS_OR_CAMERAS = "check that the masks are not inverted and that the cameras look at the head"


@dataclass(frozen=True)
class Refill:
    """From `step` on the table has `count` rows."""

    step: int
    count: int


def refills(
    start: int, steps: Sequence[float], counts: Sequence[int], *, every: int, most: int
) -> list[Refill]:
    """`start` rows at first, then `counts`, or twice as many each time, from the first refill on
    that is not before each of `steps`; refills are `every` so many steps, rows `most` at most.

    Raises InputError where there are counts, but not one for each step.
    """
    if counts and len(counts) != len(steps):
        raise InputError(
            f"grow_to has {len(counts)} numbers, grow_at {len(steps)}; give as many, or no grow_to"
        )
    found = [Refill(0, start)]
    for k, step in enumerate(steps):
        count = counts[k] if counts else 2 * found[-1].count
        found.append(Refill(-(-round(step) // every) * every, min(count, most)))
    return found


def opaque(least: float) -> Callable[[Render], Tensor]:
    """Rows at least so opaque in a view, drawn there or not."""
    return lambda render: render.gaussians.opacities[:, 0] >= least


def drawn(least: float) -> Callable[[Render], Tensor]:
    """Rows at least so opaque that the view's pixels depend on: one behind others does not pull."""

    def rows(render: Render) -> Tensor:
        pull = render.means2d.grad
        return opaque(least)(render) & (render.radii > 0 if pull is None else pull[:, :2].any(1))

    return rows


class PointSchedule:
    """Every `interval` steps: rows that no view drew since go, copies of the others take their
    place.

    `copy(rows, generator)` makes the copies, jittered as the method likes it.
    """

    def __init__(
        self,
        refills: Sequence[Refill],
        interval: int,
        copy: Callable[[Rows, torch.Generator], Rows],
        seed: int,
        visible: Callable[[Render], Tensor] = lambda render: render.radii > 0,
        *,
        until: int | None = None,
        keeps_moments: bool = True,
        advice: Callable[[], str] = lambda: MASKS_OR_CAMERAS,
    ) -> None:
        """`visible` says which rows (N,) of a view count as drawn; after step `until` the rows stay
        as they are. Without `keeps_moments` every optimizer starts afresh at each refill. Where
        nothing was drawn, `advice` says what to do."""
        self.refills, self.interval, self.copy, self.seed = refills, interval, copy, seed
        self.visible, self.until, self.keeps_moments = visible, until, keeps_moments
        self.advice = advice
        self.seen = torch.zeros(0, dtype=torch.bool)

    def observe(self, renders: list[Render]) -> None:
        for render in renders:
            drawn = self.visible(render)
            self.seen = drawn if len(self.seen) != len(drawn) else self.seen | drawn

    @torch.no_grad()
    def update(self, step: int, table: GaussianTable, optimizers: Optimizers) -> None:
        """Raises InputError where nothing was drawn at all."""
        count = next((r.count for r in reversed(self.refills) if r.step <= step), None)
        if step % self.interval or count is None or len(self.seen) != len(table):
            return
        if self.until is not None and step > self.until:
            return
        if not bool(self.seen.any()):
            raise InputError(
                f"no view of the last {self.interval} steps showed any of the {len(table)} points; "
                + self.advice()
            )
        source = generator(self.seed, "refill", step)
        kept = self.seen.nonzero()[:, 0]
        picked = torch.randint(len(kept), (max(count - len(kept), 0),), generator=source)
        born = self.copy(table.rows(kept[picked.to(kept.device)]), source)
        table.resize(self.seen, born, optimizers)
        if not self.keeps_moments:
            optimizers.moments.clear()
        self.seen = self.seen.new_zeros(len(table))

    def state(self) -> dict[str, Tensor]:
        return {"seen": self.seen}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.seen = state["seen"].clone()
