"""Gaussians that ride on control points, which were followed through the clip: for scenes whose
things move far and fast.

Sparse control as in SC-GS (Huang et al., CVPR 2024); here the points move along splines, and find
what moves in a window of time that grows, before any Gaussian hangs on them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from arguments.settings import at_least, between, count, setting, weight
from scene.deformation import control_points as cp
from scene.facts import SceneFacts
from scene.frames import Frame, PointCloud
from scene.gaussian_model import Gaussians, GaussianTable, activate
from scene.methods import MethodBase
from training.losses import blurred_l2, of_picture, over_views
from training.optimizers import ParamGroup
from training.options import CommonOptions, TableRates
from training.samplers import GrowingWindow
from training.schedules import Schedule, constant, log_linear
from training.stage import Loss, Stage
from training.strategies import FAINT, Every, Relocate
from utils.random import generator

if TYPE_CHECKING:
    from arguments.settings import Settings
    from gaussian_renderer import Render

REST = 0.5  # the moment at which the Gaussians are where their table says
TURNS = 4.0  # a knot counts in sides of the box and in quarters of tangents: one rate fits both
SLOW = 0.05  # sides of the box per clip: a speed at which a thing may as well rest
CELLS = (5, 10, 25, 50)  # of a picture's side, coarse to fine, that control points are fitted to
LONGEST = 200  # pixels of a side of the pictures they see
WIDTH = 0.06  # of a control point at first, in sides of the box
STRIDES = 0.7548776662, 0.5698402910  # Roberts' sequence: pairs of moments, evenly over all
BORN_WIDTH = 0.05  # of a Gaussian at most, the same
MOST_NEAREST = 16


@dataclass(frozen=True)
class ModelHiddenParams:
    """The control points."""

    n_control: int = setting(400, "control points", valid=at_least(MOST_NEAREST))
    n_knots: int = setting(24, "knots of their cubic splines over the clip", valid=between(5, 999))
    n_nearest: int = setting(
        4, "control points that a Gaussian rides on", valid=between(2, MOST_NEAREST)
    )
    init_rows: int = count(6_000, "Gaussians that are born on them")


@dataclass(frozen=True)
class OptimizationParams(TableRates, CommonOptions):
    """Schedules, losses and densification. Iterations are optimiser steps."""

    iterations: int = weight(3_000, "steps of the Gaussians")
    track_iterations: int = weight(3_000, "steps of the control points before them")
    batch_size: int = count(1, "views per step")
    window: float = setting(0.15, "of the clip that they see at first", valid=between(0, 1))
    window_from: float = setting(0.15, "share of these steps before it grows", valid=between(0, 1))
    window_until: float = setting(0.5, "share after which it is the clip", valid=between(0, 1))
    lambda_faint: float = weight(0.02, "of the mean opacity of control points")
    lambda_track_bend: float = weight(0.1, "of their acceleration while they are followed")
    lambda_track_rest: float = weight(3e-3, "of their unrest, once the window is the clip")
    lambda_bend: float = weight(0.01, "of their acceleration")
    lambda_rest: float = weight(2e-3, "of their unrest; keeps still what may be still")
    lambda_rigid: float = weight(1.0, "of what stretches between neighbours (ARAP)")
    lambda_alike: float = weight(0.01, "of how neighbours turn and grow apart")
    track_lr: float = setting(2e-3, "of their splines while followed, sides of the box")
    spline_lr_init: float = setting(1e-3, "of their splines under the Gaussians")
    spline_lr_final: float = setting(1e-4, "of their splines at the end")
    blend_lr: float = setting(0.01, "of the logits of a Gaussian's weights")
    densify_grad_threshold: float = setting(1e-4, "screen-space gradient of densified Gaussians")
    opacity_threshold: float = setting(0.005, "opacity of pruned Gaussians")

    def column_rates(self, extent: float, iterations: int) -> dict[str, Schedule]:
        return {**super().column_rates(extent, iterations), "blend": constant(self.blend_lr)}


class Method(MethodBase):
    """A few hundred control points along splines, and Gaussians that ride on them."""

    @classmethod
    def needs(cls, settings: Settings) -> tuple[str, ...]:
        return ("time",)

    def __init__(self, facts: SceneFacts, settings: Settings, points: PointCloud) -> None:
        super().__init__(facts, settings)
        h, low, high = self.hidden, *facts.box
        self.side = float((high - low).amax())
        source = generator(self.seed, "control points")
        n, k = h.n_control, h.n_nearest
        within = 0.1 + 0.8 * torch.rand(n, 3, generator=source)
        self.control = nn.ParameterDict(
            {
                "means": nn.Parameter(low + (high - low) * within),
                "log_scales": nn.Parameter(torch.full((n, 1), math.log(WIDTH * self.side))),
                "opacity_logits": nn.Parameter(torch.full((n, 1), -2.0)),
                "rgb": nn.Parameter(torch.full((n, 3), 0.5)),
                "knots": nn.Parameter(torch.zeros(n, h.n_knots, cp.N_NUMBERS)),
            }
        )
        sizes = [self.side] * 3 + [TURNS] * (cp.N_NUMBERS - 3)
        self.register_buffer("units", torch.tensor(sizes), persistent=False)
        self.register_buffer("upright", torch.tensor([1.0, 0, 0, 0]).repeat(n, 1), persistent=False)
        # Knots that have learned something, first and last; the same as numbers. No function of
        # the step, which another stage may count.
        self.known_knots = self._knots(*self._window(1))
        self.register_buffer("known", torch.tensor(self.known_knots))
        self.register_buffer("nearest", torch.zeros(n, k, dtype=torch.int64))
        self.register_buffer("near", torch.ones(n, k))
        self.register_buffer("anchors", torch.zeros(n, 3))
        columns = GaussianTable.from_points(points, self.sh_degree, facts.extent).columns
        columns = {name: value.detach() for name, value in columns.items()}
        alike = torch.zeros(len(points.xyz), k)
        self.table = GaussianTable({**columns, "blend": alike}, {"riding": alike.long()})
        self.activations_per_row = 60 * k  # gathered similarities and their gradients

    @property
    def max_rows(self) -> int:
        return max(super().max_rows, self.hidden.init_rows, self.hidden.n_control)

    def forward(self, frame: Frame) -> Gaussians:
        columns = dict(self.table.columns)
        weights = columns.pop("blend").softmax(1)
        motion = self._motions(frame.time)
        posed = cp.ride(columns, self.table.fixed.riding, weights, self.anchors, motion)
        return activate(posed, self.drawn_sh_degree)

    def exported(self) -> Gaussians:
        columns = {k: v for k, v in self.table.columns.items() if k != "blend"}
        return activate(columns, self.sh_degree)

    def follow(self, frame: Frame) -> Gaussians:
        """The control points themselves, round, where the clip is known; elsewhere they go on
        straight ahead."""
        self._widen()
        c = self.control
        moved = cp.at(c["knots"][..., cp.MOVE], frame.time) * self.side
        return Gaussians(
            means=c["means"] + moved,
            quats=self.upright,
            scales=c["log_scales"].exp().expand(-1, 3),
            opacities=c["opacity_logits"].sigmoid(),
            colors=c["rgb"],
        )

    @torch.no_grad()
    def _widen(self) -> None:
        """Let the splines reach as far as the window of the step."""
        known, wanted = self.known_knots, self._knots(*self._window(self.at_step))
        if wanted[0] < known[0] or wanted[1] > known[1]:
            cp.widened(self.control["knots"], known, wanted)
            self.known_knots = min(known[0], wanted[0]), max(known[1], wanted[1])
            for place, knot in enumerate(self.known_knots):
                self.known[place].fill_(knot)

    def load(self, state: dict[str, Tensor]) -> None:
        super().load(state)
        self.known_knots = tuple(self.known.tolist())

    def stages(self) -> list[Stage]:
        o, c = self.optim, self.control
        track, fine = o.track_iterations, o.iterations
        rates = {"means": 1e-3 * self.side, "log_scales": 0.01, "opacity_logits": 0.03}
        rates |= {"rgb": 0.01, "knots": o.track_lr}
        points = [
            ParamGroup(f"control.{name}", lambda name=name: [c[name]], constant(rate))
            for name, rate in rates.items()
        ]
        groups = o.table_groups(self.table, self.facts.extent, fine)
        splines = log_linear(o.spline_lr_init, o.spline_lr_final, fine)
        groups.append(ParamGroup("splines", lambda: [c["knots"]], splines))
        window = GrowingWindow(self._window, LONGEST, views=o.batch_size)
        moving = Every(100, 100, round(0.85 * track))
        threshold, opaque = constant(o.densify_grad_threshold), constant(o.opacity_threshold)
        blurred = Loss("blurred", constant(1.0), over_views(of_picture(blurred_l2(CELLS))))
        return [
            Stage("track", track, self.follow, o.cooled(points, track),
                  [blurred, *self._followed()], Relocate(c, moving, self.seed), window,
                  sketch=True),
            Stage("fine", fine, self.forward, o.cooled(groups, fine),
                  [*o.pictures(1.0), *self._ridden()],
                  o.densify(self.facts, fine, threshold, opaque, seed=self.seed),
                  begin=self.hang, only_drawn=o.sparse_adam),
        ]  # fmt: skip

    @torch.no_grad()
    def hang(self) -> None:
        """Gaussians are born in the control points that are there at all, where these are at the
        moment `REST`."""
        h, c = self.hidden, self.control
        knots, opacity = self._knots_in_units(), c["opacity_logits"][:, 0].sigmoid()
        self.anchors.copy_(c["means"] + cp.at(knots[..., cp.MOVE], REST))
        alive = opacity >= min(FAINT, float(opacity.max()))
        distance = cp.apart(c["means"], knots)
        distance = distance + 1e3 * self.side * ~alive  # what is faint is nobody's neighbour
        distance.fill_diagonal_(-1.0)  # each comes first in its own list
        found = distance.topk(h.n_nearest, largest=False)
        self.nearest.copy_(found.indices)
        usual = found.values[alive, 1:].median().clamp(min=1e-6 * self.side)
        self.near.copy_(torch.exp(-0.5 * (found.values.clamp(min=0) / usual).square()))
        self.near[:, 0] = 0  # of itself
        self._bear(opacity * alive)

    def _bear(self, opacity: Tensor) -> None:
        """Fill the table with `init_rows` rows in control points of these opacities (P,)."""
        h, c = self.hidden, self.control
        source = generator(self.seed, "births")
        width = c["log_scales"].exp()[:, 0]
        chances = (opacity * width.clamp(max=0.1 * self.side).square()).cpu()
        parents = torch.multinomial(chances, h.init_rows, True, generator=source).to(width.device)
        noise = torch.randn(h.init_rows, 3, generator=source).to(width)
        xyz = self.anchors[parents] + 0.7 * width[parents, None] * noise
        points = PointCloud(xyz, c["rgb"][parents].clamp(0.02, 0.98))
        born = dict(GaussianTable.from_points(points, self.sh_degree, self.facts.extent).columns)
        born["log_scales"].clamp_(max=math.log(BORN_WIDTH * self.side))
        riding = self.nearest[parents]
        away = (xyz[:, None] - self.anchors[riding]).norm(dim=-1) / width[riding]
        born["blend"] = -0.5 * away.square()
        born["blend"] = born["blend"] - born["blend"].amax(1, keepdim=True)
        self.table.allocate(h.init_rows)
        for name, column in self.table.columns.items():
            column.copy_(born[name])
        self.table.fixed.riding.copy_(riding)

    def _window(self, step: int) -> tuple[float, float]:
        """First and last time that step `step` of the control points sees."""
        o = self.optim
        grown = step / max(o.track_iterations, 1) - o.window_from
        part = min(max(grown / max(o.window_until - o.window_from, 1e-6), 0.0), 1.0)
        half = (o.window + (1 - o.window) * part) / 2
        return REST - half, REST + half

    def _knots(self, low: float, high: float) -> tuple[int, int]:
        """The first and the last knot that a window of time reads."""
        m = self.hidden.n_knots
        return cp.span(low, m)[0], cp.span(high, m)[0] + cp.DEGREE

    def _knots_in_units(self) -> Tensor:
        return self.control["knots"] * self.units

    def _motions(self, time: float) -> dict[str, Tensor]:
        return cp.motions(self.anchors, self._knots_in_units(), time, REST)

    def _followed(self) -> list[Loss]:
        """What keeps control points few and their ways plain."""
        o, c = self.optim, self.control

        def bend(renders: list[Render], frames: list[Frame], step: int) -> Tensor:
            first, last = self.known_knots
            known = c["knots"][:, first : last + 1, cp.MOVE]
            return cp.bend(known, self.hidden.n_knots)

        def rest(renders: list[Render], frames: list[Frame], step: int) -> Tensor:
            if step < o.window_until * o.track_iterations:
                return c["knots"].new_zeros(())
            return cp.unrest(c["knots"][..., cp.MOVE], SLOW)

        def faint(renders: list[Render], frames: list[Frame], step: int) -> Tensor:
            return c["opacity_logits"].sigmoid().mean()

        return [
            Loss("bend", constant(o.lambda_track_bend), bend),
            Loss("rest", constant(o.lambda_track_rest), rest),
            Loss("faint", constant(o.lambda_faint), faint),
        ]

    def _ridden(self) -> list[Loss]:
        """What keeps neighbours together and still things still."""
        o, c = self.optim, self.control

        def rigid(renders: list[Render], frames: list[Frame], step: int) -> Tensor:
            one, other = (self._motions(step * stride % 1) for stride in STRIDES)
            stretch, unlike = cp.rigidity(self.anchors, one, other, self.nearest, self.near)
            return o.lambda_rigid * stretch / self.side**2 + o.lambda_alike * unlike

        def plain(renders: list[Render], frames: list[Frame], step: int) -> Tensor:
            knots = c["knots"]
            bend, unrest = cp.bend(knots, self.hidden.n_knots), cp.unrest(knots, SLOW)
            return o.lambda_bend * bend + o.lambda_rest * unrest

        return [Loss("rigid", constant(1.0), rigid), Loss("plain", constant(1.0), plain)]
