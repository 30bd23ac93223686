"""Gaussians, stored and drawn. A `GaussianTable` stores raw columns, one row per Gaussian (log
scales, opacity logits); `Gaussians` are posed and activated, what the rasterizer draws. Only
`activate` crosses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Protocol

import fused_fields
import torch
from simple_knn import mean_knn_squared_distance
from torch import Tensor, nn

from scene.frames import PointCloud
from utils.sh import rgb_to_sh

INITIAL_OPACITY = 0.1
LONE = 0.1  # width of a Gaussian without neighbours, in extents of the scene


@dataclass(frozen=True)
class Gaussians:
    """Posed and activated: what the rasterizer eats."""

    means: Tensor  # (N, 3) world units
    quats: Tensor  # (N, 4) wxyz, unit
    scales: Tensor  # (N, 3) world units, > 0
    opacities: Tensor  # (N, 1) in (0, 1)
    sh: Tensor | None = None  # (N, B, 3), B = (degree + 1)²; exactly one of sh and colors
    colors: Tensor | None = None  # (N, C)
    sh_degree: int = 0

    def tensors(self) -> dict[str, Tensor]:
        """Those that there are, by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    def rows(self, index: Tensor) -> Gaussians:
        """Those at `index`: (M,) numbers or (N,) bool."""
        return replace(self, **{name: value[index] for name, value in self.tensors().items()})


def activate(columns: Mapping[str, Tensor], sh_degree: int) -> Gaussians:
    """Raw columns (posed or not) to Gaussians; `sh_degree` is the degree that is drawn."""
    quats, scales, opacities, sh = fused_fields.activate(
        columns["quats"], columns["log_scales"], columns["opacity_logits"],
        columns["sh_dc"], columns["sh_rest"], bands=(sh_degree + 1) ** 2,
    )  # fmt: skip
    return Gaussians(columns["means"], quats, scales, opacities, sh=sh, sh_degree=sh_degree)


def round_columns(points: PointCloud, extent: float = 1.0) -> dict[str, Tensor]:
    """Columns means, quats and log_scales: a round Gaussian on every point, as wide as the mean
    distance to its three nearest neighbours (3DGS); a share of the `extent` of the scene, world
    units, where all points are in one place."""
    n = len(points.xyz)
    squared = mean_knn_squared_distance(points.xyz, k=3) if n else points.xyz.new_zeros(0)
    if not squared.any():
        squared = torch.full_like(squared, (LONE * extent) ** 2)
    spacing = squared.clamp(min=1e-7).sqrt()
    return {
        "means": points.xyz.clone(),
        "quats": torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(n, 1),
        "log_scales": spacing.log()[:, None].repeat(1, 3),
    }


def rows_after(old: Tensor, kept: Tensor, new: Tensor) -> Tensor:
    """The rows `kept` (K,) of a tensor (N, ...) and then `new` (M, ...), copied once."""
    found = old.new_empty(len(kept) + len(new), *old.shape[1:])
    torch.index_select(old, 0, kept, out=found[: len(kept)])
    found[len(kept) :] = new
    return found


class FollowsRows(Protocol):
    """What keeps something per row of a parameter: optimizers, whose moments move with the rows."""

    def replace(self, old: nn.Parameter, new: nn.Parameter, kept: Tensor) -> None: ...


class GaussianTable(nn.Module):
    """One row per Gaussian: learned `columns`, each (N, ...), and `fixed` ones of any dtype.

    The columns of `from_points` are means (N, 3), quats (N, 4) wxyz unnormalised, log_scales (N,
    3), opacity_logits (N, 1), sh_dc (N, 1, 3) and sh_rest (N, B - 1, 3): two columns, because they
    learn at different rates. A fixed column, such as indices of neighbours (N, k) int64, is a
    buffer: rows are kept, copied and saved with theirs.
    """

    def __init__(
        self, columns: Mapping[str, Tensor], fixed: Mapping[str, Tensor] | None = None
    ) -> None:
        super().__init__()
        self.columns = nn.ParameterDict(
            {name: nn.Parameter(value) for name, value in columns.items()}
        )
        self.fixed = nn.Module()
        for name, value in (fixed or {}).items():
            self.fixed.register_buffer(name, value)

    def __len__(self) -> int:
        return len(next(chain(self.columns.values(), self.fixed.buffers())))

    @classmethod
    def from_points(cls, points: PointCloud, sh_degree: int, extent: float = 1.0) -> GaussianTable:
        """A Gaussian of `round_columns` on every point, of its colour, a tenth opaque (3DGS)."""
        n = len(points.xyz)
        return cls(
            {
                **round_columns(points, extent),
                "opacity_logits": torch.full((n, 1), INITIAL_OPACITY).logit(),
                "sh_dc": rgb_to_sh(points.rgb)[:, None],
                "sh_rest": torch.zeros(n, (sh_degree + 1) ** 2 - 1, 3),
            }
        )

    def every(self) -> dict[str, Tensor]:
        """All columns by name, learned and fixed."""
        return {**self.columns, **dict(self.fixed.named_buffers())}

    @torch.no_grad()
    def resize(self, keep: Tensor, new: Mapping[str, Tensor], optimizers: FollowsRows) -> None:
        """Keep the rows where `keep` (N,) bool holds, then append the rows `new` (every column, (M,
        ...)).

        Parameters, gradients and optimizer moments move together; appended rows have zero moments.
        This is the only place where the number of rows changes.
        """
        if new.keys() != self.every().keys():
            raise ValueError(
                f"new rows have columns {sorted(new)}, the table has {sorted(self.every())}"
            )
        kept = keep.nonzero()[:, 0]
        for name, old in list(self.columns.items()):
            column = nn.Parameter(rows_after(old.detach(), kept, new[name]))
            if old.grad is not None:
                column.grad = rows_after(old.grad, kept, torch.zeros_like(new[name]))
                old.grad = None  # a column of bases is large: no more of it at once than must be
            optimizers.replace(old, column, kept)
            self.columns[name] = column
        for name, old in list(self.fixed.named_buffers()):
            setattr(self.fixed, name, rows_after(old, kept, new[name]))

    def keep(self, mask: Tensor, optimizers: FollowsRows) -> None:
        """Keep the rows where `mask` (N,) bool holds."""
        self.resize(mask, self.rows(mask.nonzero()[:0, 0]), optimizers)

    def allocate(self, n: int) -> None:
        """Make room for `n` rows of a saved table, which `load_state_dict` then fills."""
        for name, old in list(self.columns.items()):
            self.columns[name] = nn.Parameter(old.new_zeros(n, *old.shape[1:]))
        for name, old in list(self.fixed.named_buffers()):
            setattr(self.fixed, name, old.new_zeros(n, *old.shape[1:]))

    def rows(self, index: Tensor) -> dict[str, Tensor]:
        """Copies of the rows at `index` (M,), every column."""
        return {name: column.detach()[index] for name, column in self.every().items()}
