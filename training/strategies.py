"""Strategies grow and prune the rows of a table while a stage runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from gaussian_renderer import Render, narrower
from scene.gaussian_model import GaussianTable
from training.births import Births
from training.optimizers import Optimizers
from training.schedules import Schedule
from utils.random import generator


class Strategy(Protocol):
    """`observe` after backward, `update` before the optimizer steps; `state` makes resuming
    exact."""

    def observe(self, renders: list[Render]) -> None: ...
    def update(self, step: int, table: GaussianTable, optimizers: Optimizers) -> None: ...
    def state(self) -> dict[str, Tensor]: ...
    def load_state(self, state: Mapping[str, Tensor]) -> None: ...


class Keep:
    """The rows stay as they are."""

    def observe(self, renders: list[Render]) -> None: ...

    def update(self, step: int, table: GaussianTable, optimizers: Optimizers) -> None: ...

    def state(self) -> dict[str, Tensor]:
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None: ...


def norm_per_view(renders: list[Render], pulls: Tensor, counts: Tensor) -> list[Tensor | None]:
    """Add the norm of every view's screen gradient (3DGS), and how many views drew a row; returns
    these norms "N", None for a view that no loss reached.

    The loss is a mean over the batch; multiplying by its size keeps the threshold's meaning.
    """
    norms = _norms(renders)
    for render, norm in zip(renders, norms, strict=True):
        if norm is not None:
            pulls.add_(norm, alpha=len(renders))
            counts.add_(render.radii > 0)
    return norms


def norm_of_sum(renders: list[Render], pulls: Tensor, counts: Tensor) -> list[Tensor | None]:
    """Add the norm of the views' summed screen gradient, and whether any drew a row (STAG4D);
    returns what `norm_per_view` does."""
    found = [render for render in renders if render.means2d.grad is not None]
    if found:
        pulls.add_(torch.stack([r.means2d.grad[:, :2] for r in found]).sum(0).norm(dim=1))
        counts.add_(torch.stack([render.radii > 0 for render in found]).any(0))
    return _norms(renders)


def _norms(renders: list[Render]) -> list[Tensor | None]:
    grads = (render.means2d.grad for render in renders)
    return [None if grad is None else grad[:, :2].norm(dim=1) for grad in grads]


def above(threshold: Schedule) -> Callable[[Tensor, int], Tensor]:
    """Choose the rows that are pulled at least as hard as the threshold of the step says."""
    return lambda pull, step: pull >= threshold(step)


def hardest(share: float) -> Callable[[Tensor, int], Tensor]:
    """Choose this share of the rows that are pulled at all, whatever the loss's scale (STAG4D)."""

    def choose(pull: Tensor, step: int) -> Tensor:
        pulled = pull[pull > 0].sort(descending=True).values
        if not len(pulled):
            return torch.zeros_like(pull, dtype=torch.bool)
        return pull >= pulled[min(int(share * len(pulled)), len(pulled) - 1)]

    return choose


@dataclass(frozen=True)
class Every:
    """Steps `interval` apart, from after `start` to `end`; steps count from 1."""

    interval: int
    start: int
    end: int

    def __call__(self, step: int) -> bool:
        return self.start < step <= self.end and step % self.interval == 0


@dataclass(frozen=True)
class Seen:
    """What pruning rules may ask of the rows; each (N,)."""

    opacities: Tensor  # as `OPACITIES` says
    idle: Tensor  # views in a row that a row was missing from, or too narrow in


Rule = Callable[[int, GaussianTable, Seen], Tensor]  # (N,) which rows stay


@dataclass(frozen=True)
class DensifySettings:
    """What `GradientDensify` does when."""

    grow: Every
    prune: Every
    choose: Callable[[Tensor, int], Tensor]  # (N,) mean pull and the step to the rows to densify
    rules: list[Rule]
    births: Births
    max_gaussians: int
    seed: int
    statistic: Callable[[list[Render], Tensor, Tensor], list[Tensor | None]] = norm_per_view
    least_width: float = 0.0  # pixels under which a row is too narrow to count as seen
    opacity: str = "stored"  # whose opacity prunes a row: a name in `OPACITIES`
    reset: Every = field(default=Every(1, 0, 0))  # when opacities are lowered to `RESET_OPACITY`


RESET_OPACITY = 0.01
# The column "opacity_logits" of the table; or, where views predict opacities, the greatest one that
# a row had in any view since the last pruning, or the one it had in the last view.
OPACITIES = ("stored", "greatest", "latest")
UNSEEN = 2.0  # stands for the opacity of rows that no view drew since: more than any, so they stay
STATISTICS = ("grad_sum", "count", "idle", "seen_opacity")  # each (N,), moved with the rows


class GradientDensify:
    """Adaptive density control (Kerbl et al. 2023, section 5): rows whose screen position is pulled
    hard are cloned when small and split when large; rows that a rule does not let stay are
    pruned."""

    def __init__(self, settings: DensifySettings) -> None:
        if settings.opacity not in OPACITIES:
            raise ValueError(
                f"opacity is {settings.opacity!r}, expected one of {', '.join(OPACITIES)}"
            )
        self.settings = settings
        self.grad_sum = torch.zeros(0)
        self.count = torch.zeros(0)
        self.idle = torch.zeros(0)
        self.seen_opacity = torch.zeros(0)  # as `OPACITIES` says; unused where opacities are stored

    def observe(self, renders: list[Render]) -> None:
        """Take in the screen gradients of the rows each view drew; count the views a row is missing
        from. A row behind others, or too faint to draw, has a gradient of exactly zero."""
        self._cover(renders[0].means2d)
        norms = self.settings.statistic(renders, self.grad_sum, self.count)
        for render, norm in zip(renders, norms, strict=True):
            if norm is None:
                continue
            idle = norm == 0
            if self.settings.least_width:
                idle |= self._narrow(render)
            self.idle.add_(1).mul_(idle)
            if self.settings.opacity != "stored":
                self._watch(render.gaussians.opacities.detach()[:, 0])

    def update(self, step: int, table: GaussianTable, optimizers: Optimizers) -> None:
        s = self.settings
        if s.grow(step) and len(table) < s.max_gaussians:
            self._densify(step, table, optimizers)
        if s.prune(step):
            self._prune(step, table, optimizers)
        if s.opacity == "stored" and s.reset(step):
            self._reset_opacities(table, optimizers)

    def state(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in STATISTICS}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        for name in STATISTICS:
            setattr(self, name, state[name].clone())

    @torch.no_grad()
    def _densify(self, step: int, table: GaussianTable, optimizers: Optimizers) -> None:
        s, like = self.settings, next(iter(table.columns.values()))
        self._cover(like)
        pull = self.grad_sum / self.count.clamp(min=1)
        chosen = s.choose(pull, step)
        room = s.max_gaussians - len(table)
        if int(chosen.sum()) > room:
            chosen = torch.zeros_like(chosen)
            chosen[pull.topk(room).indices] = True
        small = s.births.small(table)
        idle, opacity = self.idle, self.seen_opacity
        source = generator(s.seed, "split", step)
        clones = s.births.clone(table.rows((chosen & small).nonzero()[:, 0]), source)
        parents = (chosen & ~small).nonzero()[:, 0]
        children = s.births.split(table.rows(parents), source)
        keep = torch.ones(len(table), dtype=torch.bool, device=like.device)
        keep[parents] = False
        born = {name: torch.cat([clones[name], children[name]]) for name in clones}
        table.resize(keep, born, optimizers)
        self._cover(next(iter(table.columns.values())))
        self.idle[: int(keep.sum())] = idle[keep]
        self.seen_opacity[: int(keep.sum())] = opacity[keep]

    @torch.no_grad()
    def _prune(self, step: int, table: GaussianTable, optimizers: Optimizers) -> None:
        self._cover(next(iter(table.columns.values())))
        seen = Seen(self._opacities(table), self.idle)
        keep = torch.ones(len(table), dtype=torch.bool, device=self.idle.device)
        for rule in self.settings.rules:
            keep &= rule(step, table, seen)
        # A table without rows could never recover; the most opaque row stays.
        keep[seen.opacities.argmax()] = True
        if not bool(keep.all()):
            table.keep(keep, optimizers)
            self.load_state({name: value[keep] for name, value in self.state().items()})
        if self.settings.opacity == "greatest":
            self.seen_opacity.fill_(UNSEEN)

    @torch.no_grad()
    def _narrow(self, render: Render) -> Tensor:
        """(N,) which rows a view draws narrower than `least_width`."""
        return narrower(render.camera, render.gaussians, self.settings.least_width)

    def _opacities(self, table: GaussianTable) -> Tensor:
        """(N,) what decides which rows are too transparent to keep."""
        if self.settings.opacity == "stored":
            return table.columns["opacity_logits"][:, 0].sigmoid()
        return self.seen_opacity

    def _watch(self, opacities: Tensor) -> None:
        """Take in the opacities (N,) that a view drew."""
        if self.settings.opacity == "greatest":
            before = self.seen_opacity * (self.seen_opacity < UNSEEN)
            opacities = torch.maximum(before, opacities)
        self.seen_opacity = opacities

    @torch.no_grad()
    def _reset_opacities(self, table: GaussianTable, optimizers: Optimizers) -> None:
        logits = table.columns["opacity_logits"]
        logits.clamp_(max=torch.logit(torch.tensor(RESET_OPACITY)).item())
        optimizers.zero_moments(logits)

    def _cover(self, rows: Tensor) -> None:
        """Statistics for as many rows as there are; they start afresh where the number changed, and
        run on where a densification found nothing to do."""
        if len(self.grad_sum) != len(rows):
            self.grad_sum, self.count, self.idle = rows.new_zeros(3, len(rows)).unbind()
            self.seen_opacity = torch.full_like(self.idle, UNSEEN)


REBORN_OPACITY, REBORN_SHRINK = 0.1, 0.2  # of one that begins again; the latter of its log-scale


@dataclass(frozen=True)
class Relocate:
    """A fixed number of Gaussians: faint ones begin again beside opaque ones, as their smaller
    copies (after Kheradmand et al., "3D Gaussian Splatting as Markov Chain Monte Carlo", NeurIPS
    2024, section 3.3)."""

    columns: Mapping[str, Tensor]  # parameters, (P, ...): means, log_scales, opacity_logits, ...
    faint: float  # opacity under which one is worth nothing where it is
    when: Every
    seed: int

    def observe(self, renders: list[Render]) -> None: ...

    @torch.no_grad()
    def update(self, step: int, table: GaussianTable, optimizers: Optimizers) -> None:
        opacities = self.columns["opacity_logits"][:, 0].sigmoid()
        faint = (opacities < self.faint).nonzero()[:, 0]
        good = (opacities >= self.faint).nonzero()[:, 0]
        if not (self.when(step) and len(faint) and len(good)):
            return
        source = generator(self.seed, "relocate", step)
        chances = opacities[good].cpu()
        parents = good[torch.multinomial(chances, len(faint), True, generator=source).to(good)]
        noise = torch.randn(len(faint), 3, generator=source).to(opacities)
        width = self.columns["log_scales"][parents].exp()
        for column in self.columns.values():
            column[faint] = column[parents]
            if found := optimizers.moments.get(column):
                found.exp_avg[faint] = 0
                found.exp_avg_sq[faint] = found.exp_avg_sq[parents]
        self.columns["means"][faint] += noise * width
        self.columns["log_scales"][faint] -= REBORN_SHRINK
        self.columns["opacity_logits"][faint] = float(torch.tensor(REBORN_OPACITY).logit())

    def state(self) -> dict[str, Tensor]:
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None: ...
