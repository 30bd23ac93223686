"""Neural Parametric Gaussians (Das et al., "Neural Parametric Gaussians for Monocular Non-Rigid
Object Reconstruction", CVPR 2024): a coarse cloud whose moments are combinations of a few learned
clouds, placed by silhouettes and flow; then Gaussians in its local volumes."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from arguments.settings import at_least, between, count, setting, weight
from scene.cameras import project
from scene.deformation.point_basis import PointBasis
from scene.deformation.volumes import inside, neighbourhoods, shares, turns
from scene.facts import SceneFacts
from scene.flow import subject
from scene.frames import Frame, PointCloud
from scene.gaussian_model import (
    Gaussians,
    GaussianTable,
    activate,
    round_columns,
)
from scene.methods import MethodBase
from training import point_losses
from training.births import Births, Rows, smaller_than
from training.optimizers import ParamGroup
from training.options import CommonOptions, TableRates
from training.point_losses import Silhouette
from training.samplers import Shuffled, TwoBackgrounds, Windows
from training.schedules import Schedule, constant, log_linear, warm_cosine
from training.stage import Loss, Stage
from training.strategies import GradientDensify, Keep
from utils.random import generator
from utils.rotations import compose

if TYPE_CHECKING:
    from arguments.settings import Settings
    from gaussian_renderer import Render

BOX_POINTS = 20  # of the volume that never moves: a box's corners and the middles of its edges
SHRINK = 1.6  # of what is split
LIVELY = 6.0  # logits of Gaussians that share a volume from the start, so that each has its place
NEAREST_SHARE = 0.02  # of the cloud's unit: what is nearer to a camera is divided by this
NEIGHBOURS_EVERY = 50  # steps after which it is asked anew who is whose neighbour
MOMENTS = torch.linspace(0, 1, 16).tolist()  # that say who is near whom
LAST_RATE = 0.05  # of the coarse stage's rates at its end, as a factor (published)


@dataclass(frozen=True)
class ModelHiddenParams:
    """The coarse cloud and its volumes."""

    n_points: int = count(1_500, "points of the coarse cloud")
    n_shapes: int = count(25, "learned clouds, of which each moment is a combination")
    octaves: int = setting(6, "octaves of the time's encoding", valid=between(0, 64))
    net_width: int = count(256, "width of the network from the time to coefficients")
    net_depth: int = setting(3, "its residual blocks", valid=at_least(0))
    time_scale: float = setting(1.0, "the clip's length as this network is told it")
    published_start: bool = setting(
        False,
        "shapes are noise and weights tiny, so that all points start in one place; otherwise in a "
        "ball, moved as a whole, linearly and in waves",
    )
    n_nearest: int = setting(20, "points of a local volume", valid=at_least(1))
    rows_per_point: int = count(6, "Gaussians that are born in each volume")
    static_box: bool = setting(
        False, "one more volume, the scene's box, which never moves, for what stands still"
    )


@dataclass(frozen=True)
class OptimizationParams(TableRates, CommonOptions):
    """Schedules, losses and densification. Iterations are optimiser steps."""

    iterations: int = weight(3_000, "steps of the Gaussians")
    coarse_iterations: int = weight(600, "steps of the coarse cloud before them")
    batch_size: int = count(1, "views per step of the Gaussians")
    window: int = setting(10, "moments in a row that a coarse step sees", valid=at_least(2))
    coarse_side: int = count(200, "longest side of the pictures it sees, pixels")
    chamfer_pixels: int = weight(512, "pixels of a silhouette that look for a point; 0 is all")
    rest_time: float = setting(
        0.5, "moment of the clip whose distances are kept and turns are none", valid=between(0, 1)
    )
    lambda_chamfer: float = weight(1_000.0, "of the distance from points to silhouettes and back")
    lambda_flow: float = weight(10.0, "of the difference to the pictures' optical flow")
    flow_pairs: int = count(3, "of the moments of a window, at random, whose flow a step looks at")
    lambda_front: float = weight(100.0, "of points behind a camera")
    lambda_rigid: float = weight(2e-4, "of what stretches between neighbours")
    k_nn: int = setting(10, "neighbours that are held together, the point among them",
                        valid=at_least(2))  # fmt: skip
    raw_units: bool = setting(
        False,
        "these weights are for pixels and world units, as published; otherwise for picture "
        "diagonals, and distances between neighbours",
    )
    lambda_anchor: float = weight(0.1, "of how far the cloud leaves what the coarse stage made it")
    coarse_lr: float = setting(2e-3, "of the coarse stage, at most")
    coarse_warm_up: float = setting(0.05, "share of it to get there", valid=between(0, 1))
    network_lr_init: float = setting(5e-4, "of the coefficients' network under the Gaussians")
    network_lr_final: float = setting(5e-6, "of it at the end")
    shapes_lr: float = setting(3e-4, "of the learned clouds under the Gaussians")
    position_lr_init: float = setting(
        5e-3, "of the logits that place a Gaussian in its volume, times the scene extent"
    )
    position_lr_final: float = setting(5e-4, "of them after position_lr_max_steps")
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
        rates = super().column_rates(extent, iterations)
        rates["blend"] = rates.pop("means")
        sizes = log_linear(self.scaling_lr, self.scaling_lr_final, self.scaling_lr_max_steps)
        return {**rates, "log_scales": sizes}


@dataclass(frozen=True)
class Seen:
    """The coarse cloud in a step of its stage."""

    step: int
    rest: Tensor  # (N, 3) world units
    clouds: list[Tensor]  # of each frame, the same
    places: list[Tensor]  # (N, 2) their pixels
    depths: list[Tensor]  # (N,)


class Method(MethodBase):
    """A low-rank moving cloud, and Gaussians that are convex combinations of its points."""

    @classmethod
    def needs(cls, settings: Settings) -> tuple[str, ...]:
        return ("time", "flow") if settings.optim.lambda_flow else ("time",)

    def __init__(self, facts: SceneFacts, settings: Settings, points: PointCloud) -> None:
        super().__init__(facts, settings)
        h, o = self.hidden, self.optim
        self.unit = float((facts.box[1] - facts.box[0]).amax())
        self.basis = PointBasis(
            h.n_points,
            h.n_shapes,
            octaves=h.octaves,
            width=h.net_width,
            depth=h.net_depth,
            source=generator(self.seed, "point basis"),
            published=h.published_start,
        )
        self.before = deepcopy(self.basis).requires_grad_(False)  # as its own stage left it
        self.register_buffer("middle", facts.middle.clone(), persistent=False)
        self.register_buffer("box", _box_points(*facts.box)[: BOX_POINTS * h.static_box],
                             persistent=False)  # fmt: skip
        n, k = h.n_points + len(self.box), min(h.n_nearest, h.n_points)
        self.register_buffer("rest", torch.zeros(n, 3))
        self.register_buffer("near", torch.zeros(n, k, dtype=torch.int64))
        held = min(o.k_nn, h.n_points)
        self.register_buffer("held", torch.zeros(h.n_points, held, dtype=torch.int64))
        # Sum of the colours that pictures show where a point is, and their number.
        self.register_buffer("tints", torch.zeros(n, 4))
        columns = GaussianTable.from_points(points, self.sh_degree, facts.extent).columns
        columns = {k: v.detach() for k, v in columns.items() if k != "means"}
        rows = len(points.xyz)
        columns["blend"] = torch.zeros(rows, k)
        self.table = GaussianTable(columns, {"anchor": torch.arange(rows) % n})
        self.activations_per_row = 8 * k  # members of a volume and their gradients
        self._silhouettes: dict[tuple, Silhouette] = {}
        self._latest: Seen | None = None

    @property
    def max_rows(self) -> int:
        born = self.hidden.n_points * self.hidden.rows_per_point + len(self.box)
        return max(super().max_rows, born)

    def clouds(self, times: list[float], basis: PointBasis | None = None) -> Tensor:
        """(T, N, 3) the moving points at these times, world units."""
        return self.middle + self.unit * (basis or self.basis)(self._told(times))

    def _told(self, times: list[float]) -> Tensor:
        """(T,) the times as the network is told them; made where the model lives."""
        scale = self.hidden.time_scale
        return torch.stack([self.middle.new_full((), scale * time) for time in times])

    def cloud(self, time: float) -> Tensor:
        """(N + 20 or N, 3) the coarse points at a time, those of the still box last."""
        return torch.cat([self.clouds([time])[0], self.box])

    @torch.no_grad()
    def carriers(self, frame: Frame) -> tuple[Tensor, list[float]]:
        return self.cloud(frame.time), self.basis.coefficients(self._told([frame.time]))[0].tolist()

    def forward(self, frame: Frame) -> Gaussians:
        return activate(self._posed(frame.time), self.drawn_sh_degree)

    def exported(self) -> Gaussians:
        return activate(self._posed(self.optim.rest_time), self.sh_degree)

    def _posed(self, time: float) -> dict[str, Tensor]:
        columns, anchor = dict(self.table.columns), self.table.fixed.anchor
        cloud, weights = self.cloud(time), shares(columns.pop("blend"))
        turned = turns(self.rest, cloud, self.near)
        columns["means"] = inside(cloud, self.near, anchor, weights)
        columns["quats"] = compose(torch.nn.functional.embedding(anchor, turned), columns["quats"])
        return columns

    def stages(self) -> list[Stage]:
        o, extent = self.optim, self.facts.extent
        coarse, fine = o.coarse_iterations, o.iterations
        warm = warm_cosine(o.coarse_lr, round(o.coarse_warm_up * coarse), coarse, LAST_RATE)
        networks = [(self.network, "network"), (self.shapes, "shapes")]
        points = [ParamGroup(name, params, warm) for params, name in networks]
        groups = o.table_groups(self.table, extent, fine)
        slow = log_linear(o.network_lr_init, o.network_lr_final, fine)
        groups += [
            ParamGroup("network", self.network, slow),
            ParamGroup("shapes", self.shapes, constant(o.shapes_lr)),
        ]
        views = Shuffled(o.batch_size)
        return [
            Stage("coarse", coarse, None, points, self._placed(), Keep(),
                  Windows(o.window, o.coarse_side)),
            Stage("splat", fine, self.forward, o.cooled(groups, fine),
                  [*o.pictures(1.0), Loss("anchor", constant(o.lambda_anchor), self._moved)],
                  self._densify(fine), TwoBackgrounds(views) if o.two_backgrounds else views,
                  begin=self.fill, only_drawn=o.sparse_adam),
        ]  # fmt: skip

    def network(self) -> list[torch.nn.Parameter]:
        return [p for name, p in self.basis.named_parameters() if name != "shapes"]

    def shapes(self) -> list[torch.nn.Parameter]:
        return [self.basis.shapes]

    @torch.no_grad()
    def fill(self) -> None:
        """The coarse stage is done: its cloud says the volumes, in which Gaussians are born."""
        h = self.hidden
        self._latest = None
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
                inside(torch.cat([cloud, self.box]), self.near, anchor, shares(blend))
                for cloud in paths
            )
        ]
        tints = (self.tints[:, :3] + 0.5) / (self.tints[:, 3:] + 1)  # grey where nobody looked
        points = PointCloud(torch.zeros(len(anchor), 3).to(tints), tints[anchor])
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

    def _placed(self) -> list[Loss]:
        """What places the coarse cloud."""
        o = self.optim
        terms = {
            "chamfer": (o.lambda_chamfer, self._chamfer),
            "flow": (o.lambda_flow, self._flow),
            "front": (o.lambda_front, self._in_front),
            "rigid": (o.lambda_rigid, self._rigid),
        }
        return [Loss(name, constant(w), fn) for name, (w, fn) in terms.items() if w]

    def _seen(self, frames: list[Frame], step: int) -> Seen:
        """The cloud at rest and at the frames' moments; once a step for all terms."""
        if self._latest is None or self._latest.step != step:
            rest, *clouds = self.clouds([self.optim.rest_time, *(frame.time for frame in frames)])
            nearest = NEAREST_SHARE * self.unit
            views = zip(clouds, frames, strict=True)
            places = [project(cloud, frame.camera, nearest) for cloud, frame in views]
            self._latest = Seen(step, rest, clouds, *map(list, zip(*places, strict=True)))
        return self._latest

    def _chamfer(self, renders: list[Render], frames: list[Frame], step: int) -> Tensor:
        found, o = [], self.optim
        views = zip(frames, self._seen(frames, step).places, strict=True)
        for k, (frame, places) in enumerate(views):
            silhouette, source = self._silhouette(frame), generator(self.seed, "pixels", step, k)
            if silhouette is None:
                continue
            size = 1.0 if o.raw_units else point_losses.diagonal(frame.camera)
            if 2 * step > o.coarse_iterations:
                self._tint(frame, places)
            away = point_losses.chamfer(places, silhouette, source, o.chamfer_pixels)
            found.append(away / size**2)
        return torch.stack(found).mean() if found else self.middle.new_zeros(())

    @torch.no_grad()
    def _tint(self, frame: Frame, places: Tensor) -> None:
        """Take in the colours that a picture shows at the places (N, 2) of points."""
        x, y = places.unbind(1)
        width, height = frame.camera.width, frame.camera.height
        within = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        column, row = x.long().clamp(0, width - 1), y.long().clamp(0, height - 1)
        shown = (within & subject(frame)[row, column]).float()[:, None]
        colours = torch.cat([frame.image[:, row, column].T, torch.ones_like(shown)], dim=1)
        self.tints[: len(places)] += shown * colours

    def _silhouette(self, frame: Frame) -> Silhouette | None:
        key = (frame.image_path, frame.index, frame.image.shape)
        if key not in self._silhouettes:
            self._silhouettes[key] = Silhouette.of(frame)
        return self._silhouettes[key]

    def _flow(self, renders: list[Render], frames: list[Frame], step: int) -> Tensor:
        seen = self._seen(frames, step)
        known = [k for k, frame in enumerate(frames[:-1]) if frame.flow is not None]
        order = torch.randperm(len(known), generator=generator(self.seed, "flow", step)).tolist()
        found = [
            point_losses.flow_consistency(
                frames[k], seen.clouds[k], seen.places[k], seen.places[k + 1]
            )
            for k in (known[place] for place in order[: self.optim.flow_pairs])
        ]
        return torch.stack(found).mean() if found else self.middle.new_zeros(())

    def _in_front(self, renders: list[Render], frames: list[Frame], step: int) -> Tensor:
        size = 1.0 if self.optim.raw_units else self.unit
        return point_losses.in_front(torch.cat(self._seen(frames, step).depths) / size)

    def _rigid(self, renders: list[Render], frames: list[Frame], step: int) -> Tensor:
        seen = self._seen(frames, step)
        if step % NEIGHBOURS_EVERY == 1:
            with torch.no_grad():
                paths = self.clouds(MOMENTS)
            self.held.copy_(neighbourhoods(paths, self.held.shape[1]))
        unit = 1.0 if self.optim.raw_units else point_losses.spacing(seen.rest, self.held)
        return point_losses.rigidity(seen.rest, torch.stack(seen.clouds), self.held, unit)

    def _moved(self, renders: list[Render], frames: list[Frame], step: int) -> Tensor:
        """How far the cloud is from where the coarse stage left it, in its unit."""
        times = [frame.time for frame in frames]
        with torch.no_grad():
            before = self.clouds(times, self.before)
        return (self.clouds(times) - before).abs().mean() / self.unit


def elsewhere(rows: Rows, source: torch.Generator) -> Rows:
    """Copies in other places of their volume (published)."""
    noise = torch.rand(rows["blend"].shape, generator=source).to(rows["blend"])
    return {**rows, "blend": rows["blend"] + noise}


def two_elsewhere(rows: Rows, source: torch.Generator) -> Rows:
    """Two smaller copies in other places of their volume."""
    twice = {name: torch.cat([value, value]) for name, value in rows.items()}
    twice["log_scales"] = twice["log_scales"] - math.log(SHRINK)
    return elsewhere(twice, source)


def _box_points(low: Tensor, high: Tensor) -> Tensor:
    """(20, 3) corners of a box and the middles of its edges."""
    grid = torch.cartesian_prod(*[torch.tensor([0.0, 0.5, 1.0])] * 3)
    return low + (high - low) * grid[(grid == 0.5).sum(1) <= 1]
