"""What a method needs whose Gaussians may ride on control points: settings, stages that follow what
moves and check it, and the choice.

A field like that of 4DGS starts from a static picture of the whole clip. What moves its own size
every few moments is no more than a smear there, which nothing pulls apart. So control points are
followed through the clip (after Huang et al., "SC-GS", CVPR 2024) and drawn at moments that were
held out; where they explain these far better than the static picture does, the Gaussians are born
in them and ride on them. Otherwise they are dropped, and nothing is left of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from arguments.settings import at_least, between, count, one_of, setting, weight
from gaussian_renderer import render
from scene.frames import Frame
from scene.gaussian_model import Gaussians, activate
from scene.methods import SH_RAMP, MethodBase
from scene.methods._carrier import FAINT, REST, Carrier
from training.losses import blurred_l2, of_picture, over_views
from training.optimizers import ParamGroup
from training.options import CommonOptions, TableRates
from training.samplers import GrowingWindow, Shuffled, moments_apart, shrunk
from training.schedules import Schedule, constant, log_linear
from training.stage import Loss, Stage
from training.strategies import Every, GradientDensify, Keep, Relocate, Strategy
from training.thinning import Thinned, growing
from utils.errors import InputError

if TYPE_CHECKING:
    from gaussian_renderer import Render

CELLS = (5, 10, 25, 50)  # of a picture's side, coarse to fine, that control points are fitted to
LONGEST = 100  # pixels of a side of the pictures they see
SHARP_CELLS, SHARP = (10, 25, 50, 100), 200  # the same, of those that will carry
SLOWER = 0.5  # of their rates then
HELD_OUT = 8  # of so many moments one is not followed, but checked
CHECKED = 24  # views at most
STRIDES = 0.7548776662, 0.5698402910  # Roberts' sequence: pairs of moments, evenly over all
MOST_NEAREST = 16
SOON = 300  # steps after which Gaussians that ride are told apart: they are born where they belong
T = TypeVar("T")


@dataclass(frozen=True)
class CarrierParams:
    """The control points."""

    follow: str = setting(
        "never",
        "whether Gaussians ride on control points that were followed through the clip; auto: if "
        "these explain held-out moments better by follow_gain than what stands still does",
        valid=one_of("never", "auto", "always"),
    )
    n_control: int = setting(400, "control points", valid=at_least(MOST_NEAREST))
    n_knots: int = setting(24, "knots of their cubic splines over the clip", valid=between(5, 999))
    n_nearest: int = setting(
        4, "control points that a Gaussian rides on", valid=between(2, MOST_NEAREST)
    )
    init_rows: int = count(6_000, "Gaussians that are born on them")


@dataclass(frozen=True)
class CarrierOptions(TableRates):
    """How control points are followed, and what holds them under the Gaussians."""

    track_iterations: int = weight(3_000, "steps of the control points before the Gaussians'")
    follow_gain: float = setting(7.0, "dB on held-out moments from which Gaussians ride on them")
    window: float = setting(0.15, "of the clip that they see at first", valid=between(0, 1))
    window_from: float = setting(0.15, "share of these steps before it grows", valid=between(0, 1))
    window_until: float = setting(0.5, "share after which it is the clip", valid=between(0, 1))
    sharpen_iterations: int = weight(
        0, "steps of control points that carry, on all moments and larger pictures"
    )
    spin_turns: float = weight(
        0.0, "the most turns over the clip that are tried for what was followed; 0: none are"
    )
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
    spin_rate: float = setting(
        0.3, "share of these rates where a thing spins: all of its points move it, and none flexes"
    )
    riding_lr_final: float = setting(
        1.6e-5, "of the positions of Gaussians that ride, times the extent, at the end"
    )
    riding_grad_threshold: float = setting(
        2e-4, "screen-space gradient from which a Gaussian that rides is densified"
    )
    blend_lr: float = setting(0.01, "of the logits of a Gaussian's weights")

    def column_rates(self, extent: float, iterations: int) -> dict[str, Schedule]:
        return {**super().column_rates(extent, iterations), "blend": constant(self.blend_lr)}

    def riding(self) -> CarrierOptions:
        """These options where Gaussians ride: rows are born soon, and go to the end; a method has
        `riding_grad_threshold` take the place of its own."""
        return replace(
            self,
            densify_from_iter=min(self.densify_from_iter, SOON),
            pruning_from_iter=min(self.pruning_from_iter, SOON),
            prune_until_iter=self.iterations,
            position_lr_max_steps=0,
            position_lr_final=self.riding_lr_final,
        )

    def window_at(self, step: int) -> tuple[float, float]:
        """First and last time that step `step` of the control points sees."""
        grown = step / max(self.track_iterations, 1) - self.window_from
        part = min(max(grown / max(self.window_until - self.window_from, 1e-6), 0.0), 1.0)
        half = (self.window + (1 - self.window) * part) / 2
        return REST - half, REST + half


class Carried(MethodBase):
    """A method whose table may ride on a carrier: rows have two columns more then, logits "blend"
    (N, K) of their weights on the control points "riding" (N, K); K is 0 once nothing rides."""

    carrier: Carrier | None

    def add_carrier(self, conditions: Sequence[str]) -> None:
        """Make the carrier that the settings ask for, and room for it in the table.

        Raises InputError where the Gaussians shall also follow `conditions`, in words.
        """
        h = self.hidden
        self.carrier = None
        if h.follow == "never":
            return
        if conditions:
            raise InputError(
                f"follow is {h.follow!r}, but control points know nothing of "
                f"{' and '.join(conditions)}, which this model is driven by; set follow to never"
            )
        self.carrier = Carrier(self.facts.box, h.n_control, h.n_knots, h.n_nearest, self.seed)
        self.table.fixed.register_buffer("riding", torch.zeros(0, 0, dtype=torch.int64))
        self._widths(h.n_nearest)
        self.activations_per_row += 60 * h.n_nearest  # gathered similarities and gradients

    @property
    def max_rows(self) -> int:
        asked = max(self.hidden.init_rows, self.hidden.n_control) if self.carrier else 0
        return max(super().max_rows, asked)

    @property
    def rides(self) -> bool:
        """Whether control points carry the Gaussians, and nothing else moves them."""
        return self.carrier is not None and self.carrier.carries

    def ride(self, frame: Frame) -> Gaussians:
        """The table as the control points carry it."""
        columns, riding = dict(self.table.columns), self.table.fixed.riding
        return activate(self.carrier.ride(columns, riding, frame.time), self.drawn_sh_degree)

    @torch.no_grad()
    def carriers(self, frame: Frame) -> tuple[Tensor, list[float]] | None:
        return (self.carrier.places(frame.time), []) if self.rides else None

    def follow(self, frame: Frame) -> Gaussians:
        return self.carrier.follow(frame.time)

    def load(self, state: dict[str, Tensor]) -> None:
        if self.carrier is not None and "table.columns.blend" in state:
            self._widths(state["table.columns.blend"].shape[1])
        if self.carrier is not None and "carrier.points.fixed.spin" not in state:
            self.carrier.points.allocate(len(state["carrier.points.fixed.anchors"]))
            still = self.carrier.state_dict(prefix="carrier.")
            state = {**still, **state}  # an older version's, which nothing spins in
        super().load(state)
        if self.carrier is not None:
            self.carrier.remember()
            self.antialiased |= self.rides

    def following(self) -> list[Stage]:
        """The stages after the static one and before that which begins with `choose`."""
        if self.carrier is None:
            return []
        o, c = self.optim, self.carrier
        steps, more = o.track_iterations, o.sharpen_iterations
        held, kept = moments_apart(HELD_OUT)
        window = GrowingWindow(o.window_at, LONGEST, views=o.batch_size)
        born = Relocate(c.points.columns, FAINT, Every(100, 100, round(0.85 * steps)), self.seed)
        track = Stage("track", steps, self.follow, self._point_groups(1.0, steps),
                      self._followed(CELLS, o.window_until * steps), born, window,
                      sketch=True)  # fmt: skip
        every = Shuffled(o.batch_size, lambda frames: [shrunk(f, SHARP) for f in frames])
        sharpen = Stage("sharpen", more, self.follow, self._point_groups(SLOWER, more),
                        self._followed(SHARP_CELLS, 0), Keep(), every, begin=self.decide,
                        needed=lambda: len(c.points) > 0, sketch=True)  # fmt: skip
        last = [sharpen] if more else []
        if o.spin_turns:
            last.append(self._spinning(decided=more > 0))
        if self.hidden.follow == "always":
            return [track, *last]
        check = Shuffled(choose=lambda frames: [shrunk(f, LONGEST) for f in held(frames)])
        return [
            replace(track, sampler=replace(window, choose=kept)),
            Stage("check", CHECKED, self.follow, [], [], Keep(), check, begin=c.begin_check,
                  look=self._check, sketch=True),
            *last,
        ]  # fmt: skip

    @torch.no_grad()
    def decide(self) -> str:
        """Drop control points that explain too little; returns what was found, in words."""
        c = self.carrier
        if self.hidden.follow != "auto" or not len(c.points):
            return ""
        *still, followed = (-10 * math.log10(max(e, 1e-12)) for e in c.errors.tolist())
        still = max(still)
        said = f"held-out moments: {still:.1f} dB standing still, {followed:.1f} dB followed"
        if followed - still >= self.optim.follow_gain:
            return said
        c.drop()
        self._widths(0)
        return f"{said}; nothing is followed"

    @torch.no_grad()
    def choose(self, steps: int) -> str:
        """Let the Gaussians ride, if control points are left; returns it in words. The table is
        born anew then, and is otherwise as it was after its own `steps` steps."""
        if self.carrier is None:
            return ""
        h, o, c = self.hidden, self.optim, self.carrier
        said = "" if o.sharpen_iterations or o.spin_turns else self.decide()
        if not len(c.points):
            self.draw_sh_degree(min(steps // SH_RAMP, self.sh_degree))
            return said
        spins = c.spin_up(o.spin_turns)
        c.hang()
        self.draw_sh_degree(self.sh_degree)
        self.antialiased = True  # what shrinks fades, instead of staying a dot
        born = c.born(h.init_rows, self.sh_degree, self.facts.extent)
        self.table.allocate(h.init_rows)
        for name, column in self.table.every().items():
            column.copy_(born[name])
        ride = f"Gaussians ride on {len(c.points)} control points"
        if spins:
            ride += "; things that spin, turns per clip: " + ", ".join(f"{s:.2f}" for s in spins)
        return f"{said}; {ride}" if said else ride

    def either(self, usual: Callable[..., T], riding: Callable[..., T]) -> Callable[..., T]:
        """What a step says, by whether Gaussians ride."""
        return lambda *asked: (riding if self.rides else usual)(*asked)

    def rates(self, groups: list[ParamGroup], iterations: int) -> list[ParamGroup]:
        """Groups of the table in the stage in which Gaussians may ride, and of the splines."""
        if self.carrier is None:
            return groups
        o, c = self.optim, self.carrier.points.columns
        riding = o.riding().table_groups(self.table, self.facts.extent, iterations)
        free = log_linear(o.spline_lr_init, o.spline_lr_final, iterations)

        def splines(step: int) -> float:
            return (o.spin_rate if self.carrier.spins else 1.0) * free(step)

        return [
            *(replace(g, lr=self.either(g.lr, r.lr)) for g, r in zip(groups, riding, strict=True)),
            ParamGroup("splines", lambda: [c["knots"]], splines),
        ]

    def strategy(self, densify: Callable[[CommonOptions], Strategy]) -> Strategy:
        """That of the options, and of others where Gaussians ride; one as the other is thinned."""
        usual = densify(self.optim)
        if self.carrier is None:
            return usual
        s, riding = (growing(each).settings for each in (usual, densify(self.optim.riding())))
        names = "grow", "prune", "choose"
        both = {name: self.either(getattr(s, name), getattr(riding, name)) for name in names}
        either = GradientDensify(replace(s, **both))
        return Thinned(either, usual.share, usual.looks) if isinstance(usual, Thinned) else either

    def ridden(self) -> list[Loss]:
        """What keeps neighbours together and still things still, where Gaussians ride."""
        if self.carrier is None:
            return []
        o, c = self.optim, self.carrier

        def rigid(renders: list[Render], frames: list[Frame], step: int) -> Tensor:
            if not c.carries:
                return c.units.new_zeros(())
            stretch, unlike = c.rigidity(*(step * stride % 1 for stride in STRIDES))
            return o.lambda_rigid * stretch + o.lambda_alike * unlike

        def plain(renders: list[Render], frames: list[Frame], step: int) -> Tensor:
            if not c.carries:
                return c.units.new_zeros(())
            return o.lambda_bend * c.bend() + o.lambda_rest * c.unrest()

        return [Loss("rigid", constant(1.0), rigid), Loss("plain", constant(1.0), plain)]

    def _point_groups(self, part: float, iterations: int) -> list[ParamGroup]:
        """Of control points that are followed: a `part` of their rates, in so many steps."""
        o, c = self.optim, self.carrier.points.columns
        rates = {"means": 1e-3 * self.carrier.side, "log_scales": 0.01, "opacity_logits": 0.03}
        rates |= {"rgb": 0.01, "knots": o.track_lr}
        groups = [
            ParamGroup(f"control.{name}", lambda name=name: [c[name]], constant(part * rate))
            for name, rate in rates.items()
        ]
        return o.cooled(groups, iterations)

    def _followed(self, cells: Sequence[int], whole: float) -> list[Loss]:
        """The pictures in `cells`, and what keeps control points few and their ways plain; from
        step `whole` on the whole clip is seen."""
        o, c = self.optim, self.carrier

        def rest(renders: list[Render], frames: list[Frame], step: int) -> Tensor:
            return c.unrest() if step >= whole else c.units.new_zeros(())

        return [
            Loss("blurred", constant(1.0), over_views(of_picture(blurred_l2(cells)))),
            Loss("bend", constant(o.lambda_track_bend), lambda *_: c.bend_of_ways()),
            Loss("rest", constant(o.lambda_track_rest), rest),
            Loss("faint", constant(o.lambda_faint), lambda *_: c.opacity()),
        ]

    def _spinning(self, *, decided: bool) -> Stage:
        """Looks at what was followed in every view, to find whether it spins."""
        c, n = self.carrier, self.facts.n_views

        def begin() -> str:
            said = "" if decided else self.decide()
            if len(c.points):
                c.part(n)
            return said

        def look(renders: list[Render], frames: list[Frame], step: int) -> None:
            c.look(*frames, step)

        every = Shuffled(choose=lambda frames: [shrunk(f, SHARP) for f in frames])
        return Stage("spin", n, self.follow, [], [], Keep(), every, begin=begin,
                     needed=lambda: len(c.looks) > 0, look=look, sketch=True)  # fmt: skip

    def _check(self, renders: list[Render], frames: list[Frame], step: int) -> None:
        """Adds up how far a held-out view is from the static Gaussians, from the points as they
        are at the moment `REST`, and from the points."""
        (followed,), (frame,), distance = renders, frames, blurred_l2(CELLS)
        still = activate(self.table.columns, self.drawn_sh_degree), self.carrier.follow(REST)
        views = [
            render(frame.camera, g, frame.background, antialiased=self.antialiased) for g in still
        ]
        found = [distance(v.image, frame.image) / len(CELLS) for v in (*views, followed)]
        self.carrier.errors += torch.stack(found) / CHECKED

    @torch.no_grad()
    def _widths(self, k: int) -> None:
        """How many control points a row may ride on."""
        n = len(self.table)
        self.table.columns["blend"] = nn.Parameter(self.carrier.units.new_zeros(n, k))
        self.table.fixed.riding = self.table.fixed.riding.new_zeros(n, k)
