"""STAG4D (Zeng et al., "STAG4D: Spatial-Temporal Anchored Generative 4D Gaussians", ECCV 2024): one
masked video in, a moving subject seen from everywhere out.

The sides that no camera saw are taught by generated pictures of them (anchors), by a prior that
knows how things look from other sides (score distillation, Poole et al., "DreamFusion", ICLR 2023),
or by both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from arguments.legacy import STAG4D
from arguments.settings import again, between, count, setting, weight
from scene.deformation.mlp import OffsetMLP
from scene.facts import SceneFacts
from scene.frames import Frame, PointCloud
from scene.gaussian_model import Gaussians, GaussianTable, activate
from scene.methods import MethodBase
from scene.methods._planes import PlaneParams, PlaneRates
from training.births import Births, opaque_enough, smaller_than, within_sizes
from training.guidance import Guidance, open_guidance
from training.hull import HullViews
from training.losses import confidently, in_regions, over_views, photometric, squares
from training.memory import FLOAT, PICTURE_FLOATS
from training.options import Densification, PhotometricWeights, TableRates
from training.samplers import Draws, Imagined, Orbits
from training.schedules import constant, later, linear
from training.stage import Loss, Stage
from training.strategies import DensifySettings, Every, GradientDensify, above, hardest, norm_of_sum
from utils.random import generator

if TYPE_CHECKING:
    from arguments.settings import Settings
    from gaussian_renderer import Render

HEADS = {"means": 3, "log_scales": 3, "quats": 4}
UNIT = 10.0  # that rates named init and final are multiplied by (STAG4D's spatial scale)
SIDES = ((0.3, 128), (0.6, 256))  # part of `iters` until which imagined views are this small
WHOLE = 512  # pixels of a side of imagined views after that
HULL_VIEW = 128  # pixels of a side of imagined views that the hull alone teaches
SLIDE = 3_000  # steps in which the window of noise slides down
EARLY, LATE = (0.5, 0.95), (0.02, 0.5)  # the window before and after


@dataclass(frozen=True)
class ModelHiddenParams(PlaneParams):
    """The deformation field: six space-time planes and a small MLP."""

    bounds: float = setting(
        0.8, "half the side of the box that the planes span, world units", valid=between(0.01, 100)
    )
    kplanes_config: dict = again(
        PlaneParams,
        "kplanes_config",
        {"output_coordinate_dim": 32, "resolution": [64, 64, 64, 13]},
    )
    lambda_tv: float = weight(1.0, "of the three terms on planes together")
    plane_tv_weight: float = again(PlaneParams, "plane_tv_weight", 0.05)
    time_smoothness_weight: float = again(PlaneParams, "time_smoothness_weight", 5.0)
    l1_time_planes: float = again(PlaneParams, "l1_time_planes", 0.05)


@dataclass(frozen=True)
class OptimizationParams(PlaneRates, TableRates, PhotometricWeights, Densification):
    """Schedules, losses and densification. Iterations are optimiser steps; those that schedules
    count run through both stages."""

    init_steps: int = weight(700, "steps of the static stage")
    iterations: int = weight(7_300, "steps of the moving stage after it")
    canonical: float = setting(
        0.5, "moment of the static stage: 0 is the first, 1 the last", valid=between(0, 1)
    )
    batch_size: int = count(4, "moments per step, each with all its views")
    anchors_per_draw: int = weight(1, "generated views of each moment")
    iters: int = count(2_000, "steps in which pictures gain their weight and imagined views grow")
    lambda_l2: float = weight(20_000.0, "of the mean square of a picture's colours, a draw")
    lambda_alpha: float = weight(5_000.0, "of the mean square of its coverage")
    lambda_anchor: float = weight(
        1.0, "of a generated picture's terms, in those of a filmed one; 0: they only guide"
    )
    confidence: float = weight(
        10.0,
        "how far a generated view's residual may exceed its usual one until it is half believed, "
        "in usual ones; 0: all is believed",
    )
    guidance: str = setting(
        "none", "what says how sides look that no picture shows: none, or zero123"
    )
    guidance_path: str = setting(
        "", "folder of its weights, in the layout of diffusers", is_path=True
    )
    lambda_zero123: float = weight(1.0, "of score distillation, a draw")
    lambda_hull: float = weight(
        0.0,
        "of an imagined view's colours, where the hull of the moment's silhouettes tells them, in "
        "those of a filmed one; 0, or no generated views: it says nothing",
    )
    guidance_scale: float = weight(5.0, "how much more conditioned than unconditioned it is")
    invert_bg_prob: float = setting(
        0.5, "share of imagined views in front of black, not white", valid=between(0, 1)
    )
    scale_loss_ratio: float = setting(
        7.5, "longest to shortest axis from which a Gaussian is rounded", valid=between(1, 1e4)
    )
    lambda_scale: float = weight(1.0, "of how far Gaussians exceed it on average")
    densify_grad_threshold_percent: float = setting(
        0.025, "part of the Gaussians that are pulled hardest, densified", valid=between(0, 1)
    )
    densify_grad_threshold: float = weight(0.0, "a fixed threshold in its place; 0: the part")
    densify_from_iter: int = weight(1_200, "step after which Gaussians are densified")
    densify_until_iter: int = weight(6_000, "last step of densification; 0: none is")
    pruning_from_iter: int = weight(1_200, "step after which Gaussians are pruned")
    opacity_reset_interval: int = weight(0, "steps between resets of all opacities; 0: never")
    percent_dense: float = weight(0.1, "smaller Gaussians are cloned, larger split; world units")
    opacity_threshold: float = weight(0.01, "opacity of pruned Gaussians")
    largest: float = weight(0.1, "size from which Gaussians are pruned, world units")
    smallest: float = weight(0.001, "size under which Gaussians are pruned, world units")
    max_gaussians: int = count(40_000, "densification stops here")

    without_effect: ClassVar[dict[str, str]] = STAG4D


class Method(MethodBase):
    """Gaussians that six space-time planes move, turn and stretch; looks stay."""

    @classmethod
    def needs(cls, settings: Settings) -> tuple[str, ...]:
        pictures_alone = settings.optim.guidance == "none"
        return ("time", "anchors") if pictures_alone else ("time",)

    def __init__(self, facts: SceneFacts, settings: Settings, points: PointCloud) -> None:
        super().__init__(facts, settings)
        h = self.hidden
        self.table = GaussianTable.from_points(points, self.sh_degree, facts.extent)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.grid = h.planes(torch.full((3,), -h.bounds), torch.full((3,), h.bounds))
            self.mlp = OffsetMLP(self.grid.n_features, h.net_width, h.defor_depth, HEADS)
        self.activations_per_row = 2 * self.grid.n_features  # and gradients; the MLP keeps nothing

    def forward(self, frame: Frame) -> Gaussians:
        columns = dict(self.table.columns)
        for name, offset in self.mlp(self.grid(columns["means"], frame.time)).items():
            columns[name] = columns[name] + offset
        return activate(columns, self.drawn_sh_degree)

    def canonical(self, frame: Frame) -> Gaussians:
        return activate(self.table.columns, self.drawn_sh_degree)

    def stages(self) -> list[Stage]:
        o = self.optim
        device = self.table.columns["means"].device
        guidance = open_guidance(o.guidance, o.guidance_path, device, o.guidance_scale)
        if guidance is not None:
            seconds = guidance.seconds * o.batch_size
            hours = seconds * (o.init_steps + o.iterations) / 3_600
            print(f"guidance {o.guidance}: {seconds:.1f} s a step, {hours:.1f} h for all steps")
        several = self.facts.n_views > self.facts.n_moments  # one silhouette has no hull
        hull = HullViews(device) if o.lambda_hull and several else None
        stage = partial(self._stage, guidance, hull)
        return [
            stage("static", 0, o.init_steps, self.canonical, o.canonical),
            stage("moving", o.init_steps, o.iterations, self.forward, None),
        ]

    def _stage(
        self, guidance: Guidance | None, hull: HullViews | None, name: str, before: int,
        iterations: int, pose: object, moment: float | None,
    ) -> Stage:  # fmt: skip
        """A stage that `before` steps went before: schedules count these, too."""
        h, o = self.hidden, self.optim
        steps = o.init_steps + o.iterations
        orbits, sides = None, side(o.iters) if guidance else constant(HULL_VIEW)
        if guidance or hull:
            orbits = Orbits(later(sides, before), black=o.invert_bg_prob)
        anchors = o.anchors_per_draw if o.lambda_anchor else 0
        groups, pulls = o.table_groups(self.table, UNIT, steps), {}
        if pose == self.forward:
            groups += o.plane_groups(self.grid, self.mlp, UNIT, steps)
            if h.lambda_tv:
                pulls["planes"] = partial(h.pull_smooth, self.grid, h.lambda_tv)
        groups = [replace(g, lr=later(g.lr, before)) for g in o.cooled(groups, steps)]
        return Stage(
            name, iterations, pose, groups,
            [*self._pictures(before), *self._imagined(guidance, name, before),
             *self._hull(hull, before), *self._plain()],
            self._densifier(before),
            Draws(o.batch_size, anchors, orbits, moment),
            timed=True,
            holds=self._held(guidance, hull),
            pulls=pulls,
        )  # fmt: skip

    def _pictures(self, before: int) -> list[Loss]:
        """Terms on the filmed and the generated views; sums over the draws of a step."""
        o = self.optim
        ramp = later(linear(0.0, o.batch_size, o.iters), before)
        weights = o.lambda_l2, o.lambda_alpha
        believed = confidently(*weights, o.confidence) if o.confidence else squares(*weights)
        anchors = over_views(believed, of=has_role("anchor"))
        return [
            Loss("filmed", ramp, over_views(squares(*weights), of=has_role("reference"))),
            *([Loss("anchors", lambda step: o.lambda_anchor * ramp(step), anchors)]
              if o.lambda_anchor else []),
            *photometric(dssim=o.lambda_dssim, lpips=o.lambda_lpips),
            *in_regions(o.lambda_regions, self.facts.regions),
        ]  # fmt: skip

    def _imagined(self, guidance: Guidance | None, stage: str, before: int) -> list[Loss]:
        """Score distillation, a sum over the draws of a step."""
        if guidance is None:
            return []

        def distilled(renders: list[Render], frames: list[Frame], step: int) -> Tensor:
            source, noise = generator(self.seed, stage, "guidance", step), window(before + step)
            pairs = zip(renders, frames, strict=True)
            found = [
                guidance(r.image, f, noise, source) for r, f in pairs if isinstance(f, Imagined)
            ]
            return torch.stack(found).sum()

        return [Loss("guidance", constant(self.optim.lambda_zero123), distilled)]

    def _hull(self, hull: HullViews | None, before: int) -> list[Loss]:
        """What the silhouettes say of imagined views; a sum over the draws of a step."""
        if hull is None:
            return []
        o = self.optim
        most = o.batch_size * o.lambda_hull * o.lambda_l2
        told = over_views(hull, of=lambda frame: isinstance(frame, Imagined))
        return [Loss("hull", later(linear(0.0, most, o.iters), before), told)]

    def _held(self, guidance: Guidance | None, hull: HullViews | None) -> int:
        """Bytes that what teaches imagined views brings along."""
        held = 0
        if guidance is not None:
            held += guidance.bytes + self.optim.batch_size * view_bytes(WHOLE)
        elif hull is not None:
            held += self.optim.batch_size * view_bytes(HULL_VIEW)
        if hull is not None:
            held += hull.bytes(self.facts.n_moments, self.facts.n_views // self.facts.n_moments)
        return held

    def _plain(self) -> list[Loss]:
        """What keeps Gaussians round."""
        o = self.optim

        def long(renders: list[Render], frames: list[Frame], step: int) -> Tensor:
            drawn, scales = renders[-1].radii > 0, renders[-1].gaussians.scales
            scales = torch.where(drawn[:, None], scales, 1.0)
            ratio = scales.amax(1) / (scales.amin(1) + 1e-8)
            excess = (ratio - o.scale_loss_ratio).clamp(min=0)
            return excess.sum() / drawn.sum().clamp(min=1)

        return [Loss("long", constant(o.lambda_scale), long)] if o.lambda_scale else []

    def _densifier(self, before: int) -> GradientDensify:
        o, fixed = self.optim, self.optim.densify_grad_threshold
        share = o.densify_grad_threshold_percent
        until = o.densify_until_iter - before
        grow = Every(o.densification_interval, o.densify_from_iter - before, until)
        pruned = (o.prune_until_iter or o.densify_until_iter) - before
        reset = Every(max(o.opacity_reset_interval, 1), 0, until * bool(o.opacity_reset_interval))
        return GradientDensify(
            DensifySettings(
                grow=grow,
                prune=Every(o.pruning_interval, o.pruning_from_iter - before, pruned),
                reset=reset,
                choose=above(constant(fixed)) if fixed else hardest(share),
                rules=[opaque_enough(constant(o.opacity_threshold)),
                       within_sizes(o.smallest, o.largest)],
                births=Births(smaller_than(o.percent_dense)),
                max_gaussians=o.max_gaussians,
                seed=self.seed,
                statistic=norm_of_sum,
            )
        )  # fmt: skip


def has_role(role: str) -> Callable[[Frame], bool]:
    """Which frames have it."""
    return lambda frame: frame.role == role


def side(iters: int) -> Callable[[int], int]:
    """Step to the pixels of a side of imagined views: small at first."""
    return lambda step: next((pixels for part, pixels in SIDES if step < part * iters), WHOLE)


def view_bytes(side: int) -> int:
    """Of a view at work."""
    return side**2 * PICTURE_FLOATS * FLOAT


def window(step: int) -> tuple[float, float]:
    """Least and greatest part of the noise of a step: much at first, little in the end."""
    return tuple(linear(a, b, SLIDE)(step) for a, b in zip(EARLY, LATE, strict=True))
