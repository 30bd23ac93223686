"""Strategies grow and prune the rows of a table while a stage runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from scene.gaussian_model import GaussianTable
from training.optimizers import Optimizers
from training.schedules import Schedule
from utils.random import generator
from utils.rotations import quats_to_matrices

if TYPE_CHECKING:
    from gaussian_renderer import Render


class Strategy(Protocol):
    """`observe` after backward, `update` before the optimizer steps; `state` makes resuming exact."""

    def observe(self, renders: list[Render]) -> None: ...
    def update(self, step: int, table: GaussianTable, optimizers: Optimizers) -> None: ...
    def state(self) -> dict[str, Tensor]: ...
    def load_state(self, state: Mapping[str, Tensor]) -> None: ...


@dataclass(frozen=True)
class DensifySettings:
    """Thresholds of `GradientDensify`. Steps count from 1."""

    grad_threshold: Schedule  # of the mean gradient by a Gaussian's place on screen (NDC)
    opacity_threshold: Schedule  # less opaque rows are pruned
    densify_from: int
    densify_until: int
    densify_interval: int
    prune_from: int
    prune_interval: int
    reset_interval: int  # opacities are lowered to `RESET_OPACITY` this often
    last_reset: int  # no reset after this step: what follows must have time to recover
    percent_dense: float  # of the extent: smaller Gaussians are cloned, larger ones split
    max_gaussians: int
    patience: int  # views in a row that a row may be missing from before it is pruned
    extent: float  # world units
    seed: int
    opacity: str = "stored"  # whose opacity prunes a row: a name in `OPACITIES`


RESET_OPACITY = 0.01
SPLIT_SHRINK = 1.6  # a child's scale is its parent's divided by this (3DGS)
CHILDREN = 2
# The column "opacity_logits" of the table; or, where views predict opacities, the greatest one that a
# row had in any view since the last pruning, or the one it had in the last view.
OPACITIES = ("stored", "greatest", "latest")
UNSEEN = 2.0  # stands for the opacity of rows that no view drew since: more than any, so they stay
STATISTICS = ("grad_sum", "count", "idle", "seen_opacity")  # each (N,), moved with the rows
TOO_LARGE = 0.1  # of the extent; such rows are pruned once opacities were reset


class GradientDensify:
    """Adaptive density control (Kerbl et al. 2023, section 5): rows whose screen position is pulled
    hard are cloned when small and split when large; transparent rows are pruned, and so are rows that
    no view of a whole pass drew: hidden under others, they would show as rubbish from new sides."""

    def __init__(self, settings: DensifySettings) -> None:
        if settings.opacity not in OPACITIES:
            raise ValueError(f"opacity is {settings.opacity!r}, expected one of {', '.join(OPACITIES)}")
        self.settings = settings
        self.grad_sum = torch.zeros(0)
        self.count = torch.zeros(0)
        self.idle = torch.zeros(0)
        self.seen_opacity = torch.zeros(0)  # as `OPACITIES` says; idle where opacities are stored

    def observe(self, renders: list[Render]) -> None:
        """Add up the screen gradients of the rows each view drew; count the views a row is missing from.

        A row behind others, or too faint to draw, has a gradient of exactly zero. The loss is a mean
        over the batch; multiplying by its size keeps the threshold's meaning.
        """
        self._cover(renders[0].means2d)
        for render in renders:
            if render.means2d.grad is None:
                continue
            norms = render.means2d.grad[:, :2].norm(dim=1)
            self.grad_sum.add_(norms, alpha=len(renders))
            self.count.add_(render.radii > 0)
            self.idle.add_(1).mul_(norms == 0)
            if self.settings.opacity != "stored":
                self._watch(render.gaussians.opacities.detach()[:, 0])

    def update(self, step: int, table: GaussianTable, optimizers: Optimizers) -> None:
        s = self.settings
        if step > s.densify_until:
            return
        if s.densify_from < step and step % s.densify_interval == 0 and len(table) < s.max_gaussians:
            self._densify(step, table, optimizers)
        if s.prune_from < step and step % s.prune_interval == 0:
            self._prune(step, table, optimizers)
        if s.opacity == "stored" and step % s.reset_interval == 0 and step <= s.last_reset:
            self._reset_opacities(table, optimizers)

    def state(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in STATISTICS}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        for name in STATISTICS:
            setattr(self, name, state[name].clone())

    @torch.no_grad()
    def _densify(self, step: int, table: GaussianTable, optimizers: Optimizers) -> None:
        s = self.settings
        self._cover(table.columns["means"])
        pull = self.grad_sum / self.count.clamp(min=1)
        chosen = pull >= s.grad_threshold(step)
        room = s.max_gaussians - len(table)
        if int(chosen.sum()) > room:
            chosen = torch.zeros_like(chosen)
            chosen[pull.topk(room).indices] = True
        small = table.columns["log_scales"].amax(1).exp() <= s.percent_dense * s.extent
        idle, opacity = self.idle, self.seen_opacity
        clones = table.rows((chosen & small).nonzero()[:, 0])
        parents = (chosen & ~small).nonzero()[:, 0]
        children = self._split(table.rows(parents.repeat(CHILDREN)), generator(s.seed, "split", step))
        keep = torch.ones(len(table), dtype=torch.bool, device=parents.device)
        keep[parents] = False
        table.resize(
            keep, {name: torch.cat([clones[name], children[name]]) for name in clones}, optimizers
        )
        self._cover(table.columns["means"])
        self.idle[: int(keep.sum())] = idle[keep]
        self.seen_opacity[: int(keep.sum())] = opacity[keep]

    @staticmethod
    def _split(rows: dict[str, Tensor], source: torch.Generator) -> dict[str, Tensor]:
        """Move each row to a random point of its own Gaussian and shrink it."""
        scales = rows["log_scales"].exp()
        noise = torch.randn(scales.shape, generator=source).to(scales)
        turned = quats_to_matrices(rows["quats"]) @ (noise * scales)[:, :, None]
        shrunk = rows["log_scales"] - torch.log(scales.new_tensor(SPLIT_SHRINK))
        return {**rows, "means": rows["means"] + turned[:, :, 0], "log_scales": shrunk}

    @torch.no_grad()
    def _prune(self, step: int, table: GaussianTable, optimizers: Optimizers) -> None:
        s = self.settings
        self._cover(table.columns["means"])
        opacities = self._opacities(table)
        keep = opacities >= s.opacity_threshold(step)
        keep &= self.idle <= s.patience
        if step > s.reset_interval:
            keep &= table.columns["log_scales"].amax(1).exp() <= TOO_LARGE * s.extent
        # A table without rows could never recover; the most opaque row stays.
        keep[opacities.argmax()] = True
        if not bool(keep.all()):
            table.resize(keep, table.rows(keep.nonzero()[:0, 0]), optimizers)
            self.load_state({name: value[keep] for name, value in self.state().items()})
        if s.opacity == "greatest":
            self.seen_opacity.fill_(UNSEEN)

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
        """Statistics for as many rows as there are; they start afresh where the number changed, and run
        on where a densification found nothing to do."""
        if len(self.grad_sum) != len(rows):
            self.grad_sum = rows.new_zeros(len(rows))
            self.count = rows.new_zeros(len(rows))
            self.idle = rows.new_zeros(len(rows))
            self.seen_opacity = torch.full_like(self.idle, UNSEEN)
