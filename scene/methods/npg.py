"""Neural Parametric Gaussians (Das et al., "Neural Parametric Gaussians for Monocular Non-Rigid
Object Reconstruction", CVPR 2024): a coarse cloud whose moments are combinations of a few learned
clouds, placed by silhouettes and flow; then Gaussians in its local volumes."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from arguments.settings import at_least, count, setting, weight
from scene.deformation.volumes import box_volume, inside, members, neighbourhoods, shares, turns
from scene.facts import SceneFacts
from scene.frames import Frame, PointCloud
from scene.gaussian_model import (
    Gaussians,
    GaussianTable,
    activate,
    round_columns,
)
from scene.methods._placed import MOMENTS, CloudParams, Placed, PlacingOptions
from training.births import Births, elsewhere, smaller_than, two_elsewhere
from training.optimizers import ParamGroup
from training.options import CommonOptions, TableRates
from training.samplers import Shuffled, TwoBackgrounds
from training.schedules import Schedule, constant, log_linear
from training.stage import Loss, Stage
from training.strategies import GradientDensify
from utils.gather import gather_rows
from utils.random import generator
from utils.rotations import compose

if TYPE_CHECKING:
    from arguments.settings import Settings
    from gaussian_renderer import Render

BOX_POINTS = 20  # of the volume that never moves
LIVELY = 6.0  # logits of Gaussians that share a volume from the start, so that each has its place
EVENLY = torch.linspace(0, 1, 200).tolist()  # moments that say in which ways the cloud moves
SHADES = 0.02, 0.98  # of colours that Gaussians are born in


@dataclass(frozen=True)
class ModelHiddenParams(CloudParams):
    """The coarse cloud and its volumes."""

    n_nearest: int = setting(20, "points of a local volume", valid=at_least(1))
    rows_per_point: int = count(3, "Gaussians that are born in each volume")
    static_box: bool = setting(
        False, "one more volume, the scene's box, which never moves, for what stands still"
    )


@dataclass(frozen=True)
class OptimizationParams(PlacingOptions, TableRates, CommonOptions):
    """Schedules, losses and densification. Iterations are optimiser steps."""

    iterations: int = weight(3_000, "steps of the Gaussians")
    batch_size: int = count(1, "views per step of the Gaussians")
    spread: float = weight(
        0.3,
        "of the coefficients under the Gaussians, by which the cloud's motion is told anew when "
        "these are born; 0: as the coarse stage left them",
    )
    lambda_anchor: float = weight(0.02, "of how far the cloud leaves what the coarse stage made it")
    network_lr_init: float = setting(1e-3, "of the coefficients' network under the Gaussians")
    network_lr_final: float = setting(5e-6, "of it at the end")
    shapes_lr: float = setting(1e-3, "of the learned clouds under the Gaussians")
    position_lr_init: float = setting(
        0.05, "of the logits that place a Gaussian in its volume; in raw units times the extent"
    )
    position_lr_final: float = setting(2.5e-3, "of them after position_lr_max_steps")
    position_lr_max_steps: int = setting(
        0, "length of that schedule; 0 is the stage's", valid=at_least(0)
    )
    scaling_lr_final: float = weight(0.0, "of the log-scales at the end; 0: as at the start")
    scaling_lr_max_steps: int = count(15_000, "steps until then")
    two_backgrounds: bool = setting(
        False, "white and black in turn under the Gaussians, for pictures with an alpha or a mask"
    )
    densify_grad_threshold: float = setting(1e-4, "screen-space gradient of densified Gaussians")
    opacity_threshold: float = setting(0.005, "opacity of pruned Gaussians")
    flow_folder: str = setting(
        "",
        "folder with the flow of every training frame to the next one, .npy or .pt (H, W, 2) "
        "pixels; empty: it is computed",
        is_path=True,
    )

    def column_rates(self, extent: float, iterations: int) -> dict[str, Schedule]:
        # a share of a volume has no length
        rates = super().column_rates(extent if self.raw_units else 1.0, iterations)
        rates["blend"] = rates.pop("means")
        sizes = log_linear(self.scaling_lr, self.scaling_lr_final, self.scaling_lr_max_steps)
        return {**rates, "log_scales": sizes}


class Method(Placed):
    """A low-rank moving cloud, and Gaussians that are convex combinations of its points."""

    @classmethod
    def needs(cls, settings: Settings) -> tuple[str, ...]:
        return ("time", "flow") if settings.optim.lambda_flow else ("time",)

    def __init__(self, facts: SceneFacts, settings: Settings, points: PointCloud) -> None:
        super().__init__(facts, settings)
        h = self.hidden
        self.before = deepcopy(self.basis).requires_grad_(False)  # as its own stage left it
        box = box_volume(*facts.box)[: BOX_POINTS * h.static_box]
        self.register_buffer("box", box, persistent=False)
        n, k = h.n_points + len(self.box), min(h.n_nearest, h.n_points)
        self.register_buffer("rest", torch.zeros(n, 3))
        self.register_buffer("near", torch.zeros(n, k, dtype=torch.int64))
        columns = GaussianTable.from_points(points, self.sh_degree, facts.extent).columns
        columns = {k: v.detach() for k, v in columns.items() if k != "means"}
        rows = len(points.xyz)
        columns["blend"] = torch.zeros(rows, k)
        self.table = GaussianTable(columns, {"anchor": torch.arange(rows) % n})
        self.activations_per_row = 8 * k  # members of a volume and their gradients

    @property
    def max_rows(self) -> int:
        born = self.hidden.n_points * self.hidden.rows_per_point + len(self.box)
        return max(super().max_rows, born)

    def cloud(self, time: float) -> Tensor:
        """(N + 20 or N, 3) the coarse points at a time, those of the still box last."""
        return torch.cat([self.clouds([time])[0], self.box])

    @torch.no_grad()
    def carriers(self, frame: Frame) -> tuple[Tensor, list[float]]:
        return self.cloud(frame.time), self.basis.coefficients(self.told([frame.time]))[0].tolist()

    def forward(self, frame: Frame) -> Gaussians:
        return activate(self._posed(frame.time), self.drawn_sh_degree)

    def exported(self) -> Gaussians:
        return activate(self._posed(self.optim.rest_time), self.sh_degree)

    def _posed(self, time: float) -> dict[str, Tensor]:
        columns, anchor = dict(self.table.columns), self.table.fixed.anchor
        cloud, weights = self.cloud(time), shares(columns.pop("blend"))
        volumes = members(self.near, cloud)
        turned = turns(members(self.near, self.rest), volumes)
        columns["means"] = inside(volumes, anchor, weights)
        columns["quats"] = compose(gather_rows(turned, anchor), columns["quats"])
        return columns

    def stages(self) -> list[Stage]:
        o, fine = self.optim, self.optim.iterations
        groups = o.table_groups(self.table, self.facts.extent, fine)
        slow = log_linear(o.network_lr_init, o.network_lr_final, fine)
        groups += [
            ParamGroup("network", self.network, slow),
            ParamGroup("shapes", self.shapes, constant(o.shapes_lr)),
        ]
        views = Shuffled(o.batch_size)
        return [
            self.placing(),
            Stage("splat", fine, self.forward, o.cooled(groups, fine),
                  [*o.pictures(1.0), Loss("anchor", constant(o.lambda_anchor), self._moved),
                   *self.plain()],
                  self._densify(fine), TwoBackgrounds(views) if o.two_backgrounds else views,
                  begin=self.fill, only_drawn=o.sparse_adam),
        ]  # fmt: skip

    @torch.no_grad()
    def fill(self) -> None:
        """The coarse stage is done: its cloud says the volumes, in which Gaussians are born."""
        h = self.hidden
        self._latest = None
        if self.optim.spread:
            self.basis.straighten(self.told(EVENLY), self.optim.spread)
        self.before.load_state_dict(self.basis.state_dict())
        self.rest.copy_(self.cloud(self.optim.rest_time))
        paths = self.clouds(MOMENTS)
        self.near[: h.n_points] = neighbourhoods(paths, self.near.shape[1])
        if len(self.box):
            k = self.near.shape[1]
            even = torch.arange(k, device=self.near.device) * BOX_POINTS // k
            self.near[h.n_points :] = h.n_points + even.clamp(max=BOX_POINTS - 1)
        source = generator(self.seed, "births")
        anchor = torch.arange(h.n_points).repeat(h.rows_per_point)
        anchor = torch.cat([anchor, h.n_points + torch.arange(len(self.box))]).to(self.near)
        blend = torch.rand(len(anchor), self.near.shape[1], generator=source).to(paths)
        blend = blend * (1 if h.rows_per_point == 1 else LIVELY)
        widths = [
            round_columns(PointCloud(means, means), self.facts.extent)["log_scales"]
            for means in (
                inside(members(self.near, torch.cat([cloud, self.box])), anchor, shares(blend))
                for cloud in paths
            )
        ]
        rgb = torch.cat([self.likeness["rgb"].clamp(*SHADES), torch.full_like(self.box, 0.5)])
        points = PointCloud(torch.zeros_like(rgb[anchor]), rgb[anchor])
        born = dict(GaussianTable.from_points(points, self.sh_degree).columns)
        born |= {"blend": blend, "log_scales": torch.stack(widths).amin(0)}
        self.table.allocate(len(anchor))
        for name, column in self.table.columns.items():
            column.copy_(born[name])
        self.table.fixed.anchor.copy_(anchor)

    def _densify(self, iterations: int) -> GradientDensify:
        o = self.optim
        threshold, opaque = constant(o.densify_grad_threshold), constant(o.opacity_threshold)
        usual = o.densify(self.facts, iterations, threshold, opaque, seed=self.seed).settings
        births = Births(smaller_than(o.percent_dense * self.facts.extent), elsewhere, two_elsewhere)
        return GradientDensify(replace(usual, births=births))

    def _moved(self, renders: list[Render], frames: list[Frame], step: int) -> Tensor:
        """How far the cloud is from where the coarse stage left it, in its unit."""
        times = [frame.time for frame in frames]
        with torch.no_grad():
            before = self.clouds(times, self.before)
        return (self.clouds(times) - before).abs().mean() / self.unit
