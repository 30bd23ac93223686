"""How rows are born and which ones go: what a method may choose for its own columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scene.gaussian_model import GaussianTable
from training.schedules import Schedule
from utils.rotations import quats_to_matrices

if TYPE_CHECKING:
    from training.strategies import Rule

Rows = Mapping[str, Tensor]  # every column of the table, (M, ...)
SPLIT_SHRINK = 1.6  # a child's scale is its parent's divided by this (3DGS)
CHILDREN = 2


def as_it_is(rows: Rows, source: torch.Generator) -> Rows:
    """A clone equals its parent (3DGS)."""
    return rows


def into_two(rows: Rows, source: torch.Generator) -> Rows:
    """Two children per row, each moved to a random point of its parent's Gaussian, and shrunk
    (3DGS)."""
    rows = {name: value.repeat(CHILDREN, *[1] * (value.ndim - 1)) for name, value in rows.items()}
    scales = rows["log_scales"].exp()
    noise = torch.randn(scales.shape, generator=source).to(scales)
    turned = quats_to_matrices(rows["quats"]) @ (noise * scales)[:, :, None]
    shrunk = rows["log_scales"] - torch.log(scales.new_tensor(SPLIT_SHRINK))
    return {**rows, "means": rows["means"] + turned[:, :, 0], "log_scales": shrunk}


def beside(near: float, shrink: float) -> Callable[[Rows, torch.Generator], Rows]:
    """Copies `near` sizes of their parents away on average, and smaller by `shrink`."""

    def born(rows: Rows, source: torch.Generator) -> Rows:
        sizes = rows["log_scales"].exp()
        noise = near * torch.randn(sizes.shape, generator=source).to(sizes) * sizes
        return {
            **rows,
            "means": rows["means"] + noise,
            "log_scales": rows["log_scales"] - math.log(shrink),
        }

    return born


def shaken(width: float) -> Callable[[Rows, torch.Generator], Rows]:
    """Copies anywhere in a cube of this width about their parents, world units."""

    def born(rows: Rows, source: torch.Generator) -> Rows:
        noise = width * (torch.rand(rows["means"].shape, generator=source) - 0.5)
        return {**rows, "means": rows["means"] + noise.to(rows["means"])}

    return born


def elsewhere(rows: Rows, source: torch.Generator) -> Rows:
    """Copies in other places of their volume: "blend" are logits of where in it (NPG)."""
    noise = torch.rand(rows["blend"].shape, generator=source).to(rows["blend"])
    return {**rows, "blend": rows["blend"] + noise}


def two_elsewhere(rows: Rows, source: torch.Generator) -> Rows:
    """Two smaller copies in other places of their volume (NPG)."""
    twice = {name: torch.cat([value, value]) for name, value in rows.items()}
    twice["log_scales"] = twice["log_scales"] - math.log(SPLIT_SHRINK)
    return elsewhere(twice, source)


@dataclass(frozen=True)
class Births:
    """Small rows that are pulled hard are cloned, the others split."""

    small: Callable[[GaussianTable], Tensor]  # (N,) bool
    clone: Callable[[Rows, torch.Generator], Rows] = as_it_is
    split: Callable[[Rows, torch.Generator], Rows] = into_two


def smaller_than(size: float) -> Callable[[GaussianTable], Tensor]:
    """Which rows are at most this large, world units."""
    return lambda table: table.columns["log_scales"].amax(1).exp() <= size


def opaque_enough(threshold: Schedule) -> Rule:
    """Rows less opaque than the threshold of the step go."""
    return lambda step, table, seen: seen.opacities >= threshold(step)


def seen_within(views: int) -> Rule:
    """Rows that no view of a full pass drew go: hidden under others, nobody ever corrected them."""
    return lambda step, table, seen: seen.idle <= views


def not_larger_than(size: float, after: int) -> Rule:
    """Rows larger than `size`, world units, go from step `after` on."""
    small = smaller_than(size)

    def rule(step: int, table: GaussianTable, seen: object) -> Tensor:
        return (
            small(table)
            if step > after
            else torch.ones(len(table), dtype=torch.bool, device=table.columns["log_scales"].device)
        )

    return rule


def within_sizes(smallest: float, largest: float) -> Rule:
    """Rows smaller than `smallest` or larger than `largest`, world units, go (STAG4D)."""

    def rule(step: int, table: GaussianTable, seen: object) -> Tensor:
        sizes = table.columns["log_scales"].amax(1).exp()
        return (sizes >= smallest) & (sizes <= largest)

    return rule
