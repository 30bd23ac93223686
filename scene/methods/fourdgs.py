"""4DGS (Wu et al., "4D Gaussian Splatting for Real-Time Dynamic Scene Rendering", CVPR 2024), and,
when told to, conditioned on expression and head pose as 4D-Gaussian-Head does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import torch
from fused_fields import add_offsets
from torch import Tensor

from arguments.legacy import HIDDEN_4DGS, OPTIMIZATION_4DGS
from arguments.settings import count, setting, weight
from scene.deformation.mlp import OffsetMLP
from scene.facts import SceneFacts
from scene.frame_codes import ConditionCode, FrameCodes, condition_inputs
from scene.frames import Frame, PointCloud
from scene.gaussian_model import Gaussians, GaussianTable, activate
from scene.methods._carried import Carried, CarrierOptions, CarrierParams
from scene.methods._planes import PlaneParams, PlaneRates
from training.losses import in_regions, moves
from training.optimizers import ParamGroup
from training.options import (
    BodyRates,
    BodySetting,
    CommonOptions,
    MlpSetting,
    MomentRates,
    Refinement,
)
from training.samplers import Shuffled, first_moment
from training.schedules import constant, linear
from training.stage import Loss, Stage
from training.strategies import Strategy
from utils.rotations import as_turn, compose

if TYPE_CHECKING:
    from arguments.settings import Settings

HEADS = {  # setting that switches it off: column, numbers
    "no_dx": ("means", 3),
    "no_ds": ("log_scales", 3),
    "no_dr": ("quats", 4),
    "no_do": ("opacity_logits", 1),
    "no_dshs": ("sh", 3),
}  # fmt: skip  (sh: times the number of its bands)


@dataclass(frozen=True)
class ModelHiddenParams(PlaneParams, BodySetting, MlpSetting, Refinement, CarrierParams):
    """The deformation field: six space-time planes and a small MLP."""

    shared_hidden: bool = setting(
        False, "one hidden layer for all heads, in place of one for each: faster"
    )
    no_dx: bool = setting(False, "positions do not move")
    no_ds: bool = setting(False, "scales do not change")
    no_dr: bool = setting(False, "rotations do not change")
    no_do: bool = setting(True, "opacities do not change")
    no_dshs: bool = setting(True, "SH coefficients do not change")
    max_offset: float = weight(
        0.0, "the furthest that a position may move, in longest sides of the scene's box; 0: any"
    )
    max_stretch: float = weight(0.0, "the most that a log-scale may change; 0: any")
    apply_rotation: bool = setting(False, "compose quaternions instead of adding them")
    time_input: bool = setting(True, "the deformation knows the time; a driven avatar must not")
    expression_input: bool = setting(False, "the deformation knows the expression coefficients")
    flame_pose_input: bool = setting(False, "the deformation knows the FLAME pose")
    code_width: int = count(30, "numbers that expression and pose are condensed to")
    latent_width: int = weight(0, "numbers learned per moment, for what no coefficient says")

    without_effect: ClassVar[dict[str, str]] = HIDDEN_4DGS


@dataclass(frozen=True)
class OptimizationParams(PlaneRates, BodyRates, CarrierOptions, MomentRates, CommonOptions):
    """Schedules, losses and densification. Iterations are optimiser steps."""

    iterations: int = weight(30_000, "steps of the fine stage")
    coarse_iterations: int = weight(3_000, "steps of the static stage before it")
    batch_size: int = count(1, "views per step")
    zerostamp_init: bool = setting(False, "the coarse stage sees only the first moment's frames")
    lambda_l1_coarse: float = weight(
        1.0, "of L1 in the coarse stage; alone it fits the median over time, which may be empty"
    )
    lambda_l2_coarse: float = weight(0.0, "of L2 there; alone it fits the mean over time")
    lambda_offsets: float = weight(
        0.0, "of the mean length of all moves, in scene extents; keeps still what may be still"
    )
    densify_grad_threshold_coarse: float = setting(
        2e-4, "screen-space gradient from which a Gaussian is densified, coarse stage"
    )
    densify_grad_threshold_fine_init: float = setting(2e-4, "the same, first fine step")
    densify_grad_threshold_after: float = setting(2e-4, "the same, step densify_until_iter")
    opacity_threshold_coarse: float = setting(0.005, "opacity of pruned Gaussians, coarse stage")
    opacity_threshold_fine_init: float = setting(0.005, "the same, first fine step")
    opacity_threshold_fine_after: float = setting(0.005, "the same, step densify_until_iter")

    without_effect: ClassVar[dict[str, str]] = OPTIMIZATION_4DGS

    def riding(self) -> OptimizationParams:
        threshold = self.riding_grad_threshold
        return replace(
            super().riding(),
            densify_grad_threshold_fine_init=threshold,
            densify_grad_threshold_after=threshold,
        )


class Method(Carried):
    """4DGS: features of six space-time planes move, turn and stretch every Gaussian."""

    @classmethod
    def needs(cls, settings: Settings) -> tuple[str, ...]:
        moves = settings.hidden.time_input or settings.hidden.follow != "never"
        time = ("time",) if moves else ()
        return time + condition_inputs(settings.hidden)

    def __init__(self, facts: SceneFacts, settings: Settings, points: PointCloud) -> None:
        super().__init__(facts, settings)
        self.table = GaussianTable.from_points(points, self.sh_degree, facts.extent)
        self.add_body()
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.grid = self.hidden.planes(*self.facts.box, in_time=self.hidden.time_input)
            self.frames, self.condition = self._conditioning()
            self.mlp = self._heads()
        side = float((self.facts.box[1] - self.facts.box[0]).amax())
        self.limits = {
            "means": self.hidden.max_offset * side,
            "log_scales": self.hidden.max_stretch,
        }
        self.activations_per_row = 2 * self.grid.n_features  # and gradients; the MLP keeps nothing
        self.add_carrier([*condition_inputs(self.hidden), *["the body"] * (self.body is not None)])

    def prepare(self, frame: Frame) -> Frame:
        return frame if self.frames is None else self.frames.refine(frame)

    def forward(self, frame: Frame) -> Gaussians:
        if self.rides:
            return self.ride(frame)
        columns = dict(self.table.columns)
        offsets = self.mlp(self.grid(columns["means"], frame.time), self._code(frame))
        if "sh" in offsets:
            sh = offsets.pop("sh").reshape(len(self.table), -1, 3)
            offsets["sh_dc"], offsets["sh_rest"] = sh[:, :1], sh[:, 1:]
        if self.hidden.apply_rotation and "quats" in offsets:
            columns["quats"] = compose(columns["quats"], as_turn(offsets.pop("quats")))
        still = [columns[name] for name in offsets]
        limits = [self.limits.get(name, 0.0) for name in offsets]
        moved = add_offsets(still, list(offsets.values()), limits)
        columns |= dict(zip(offsets, moved, strict=True))
        return activate(self.on_body(columns, frame), self.drawn_sh_degree)

    def canonical(self, frame: Frame) -> Gaussians:
        return activate(self.on_body(dict(self.table.columns), frame), self.drawn_sh_degree)

    @property
    def codes(self) -> FrameCodes | None:
        return self.frames

    def stages(self) -> list[Stage]:
        o, views = self.optim, Shuffled(self.optim.batch_size)
        first = Shuffled(o.batch_size, first_moment) if o.zerostamp_init else views
        static, moving = o.pictures(o.lambda_l1_coarse, o.lambda_l2_coarse), o.pictures(1.0)
        parts = in_regions(o.lambda_regions, self.facts.regions)
        coarse, fine, until = o.coarse_iterations, o.iterations, o.densify_until
        opaque = linear(o.opacity_threshold_fine_init, o.opacity_threshold_fine_after, until)

        def densify(options: OptimizationParams) -> Strategy:
            grown = linear(
                options.densify_grad_threshold_fine_init,
                options.densify_grad_threshold_after,
                until,
            )
            return options.densify(self.facts, fine, grown, opaque, seed=self.seed)

        return [
            Stage("coarse", coarse, self.canonical, self._table_groups(coarse), static + parts,
                  o.densify(self.facts, coarse, constant(o.densify_grad_threshold_coarse),
                            constant(o.opacity_threshold_coarse), seed=self.seed, last=False),
                  first, only_drawn=o.sparse_adam),
            *self.following(),
            Stage("fine", fine, self.forward,
                  o.cooled(self.rates(self._table_groups(fine), fine) + self._network_groups(fine),
                           fine),
                  moving + parts + self._regularisers() + self.ridden(),
                  self.strategy(densify), views, begin=partial(self.choose, coarse),
                  only_drawn=o.sparse_adam,
                  pulls={"planes": self._pull_smooth} if self.hidden.smooth else {}),
        ]  # fmt: skip

    def _heads(self) -> OffsetMLP:
        h, bands = self.hidden, (self.sh_degree + 1) ** 2
        heads = dict(head for off, head in HEADS.items() if not getattr(h, off))
        sizes = {name: size * (bands if name == "sh" else 1) for name, size in heads.items()}
        code = (h.code_width if self.condition is not None else 0) + h.latent_width
        return OffsetMLP(
            self.grid.n_features, h.net_width, h.defor_depth, sizes, code, shared=h.shared_hidden,
            bf16=h.mlp_bf16,
        )  # fmt: skip

    def _conditioning(self) -> tuple[FrameCodes | None, ConditionCode | None]:
        h, inputs, noise = self.hidden, condition_inputs(self.hidden), self.optim.code_noise
        refined = h.refined((*inputs, "camera"))
        rows = code = None
        if refined or h.latent_width:
            rows = FrameCodes(self.facts, refined, h.latent_width)
        if inputs:
            code = ConditionCode(self.facts, inputs, h.code_width, noise=noise, seed=self.seed)
        return rows, code

    def _code(self, frame: Frame) -> Tensor | None:
        parts = [] if self.condition is None else [self.condition(frame, self.at_step)]
        if self.hidden.latent_width:
            parts.append(self.frames.latent(frame))
        return torch.cat(parts) if parts else None

    def _table_groups(self, iterations: int) -> list[ParamGroup]:
        rows = self.optim.table_groups(self.table, self.facts.extent, iterations)
        return rows + self.body_groups()

    def _network_groups(self, iterations: int) -> list[ParamGroup]:
        o, extent = self.optim, self.facts.extent
        groups = o.plane_groups(self.grid, self.mlp, extent, iterations)
        if self.condition is not None:
            rate = o.mlp_rate(extent, iterations)
            groups.append(ParamGroup("code", self.condition.parameters, rate))
        return groups + o.moment_groups(self.frames)

    def _regularisers(self) -> list[Loss]:
        o = self.optim
        return [
            *moves(o.lambda_offsets, self.table, self.facts.extent),
            *o.moment_losses(self.frames),
        ]

    def _pull_smooth(self) -> Tensor:
        if self.rides:
            return self.table.columns["means"].new_zeros(())
        return self.hidden.pull_smooth(self.grid)
