"""Linear bases: every Gaussian has a few ways to move, turn, grow, fade and change its colour, and
all share the few weights that expression and pose give them.

After Ma et al., "3D Gaussian Blendshapes for Head Avatar Animation", SIGGRAPH 2024, and Li et al.,
"RGBAvatar: Reduced Gaussian Blendshapes for Online Modeling of Head Avatars", CVPR 2025; here
without a head model's mesh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import torch
from fused_fields import add_bases
from torch import Tensor, nn

from arguments.legacy import NO_DELAY
from arguments.settings import count, setting, weight
from scene.deformation.body import COLUMN
from scene.facts import SceneFacts
from scene.frame_codes import MOTION, ConditionCode, FrameCodes
from scene.frames import Frame, PointCloud
from scene.gaussian_model import Gaussians, GaussianTable, activate
from scene.methods import MethodBase, as_half
from training.losses import in_regions
from training.optimizers import ParamGroup
from training.options import (
    BodyRates,
    BodySetting,
    CommonOptions,
    MomentRates,
    Refinement,
    TableRates,
)
from training.samplers import Shuffled
from training.schedules import Schedule, constant, log_linear
from training.stage import Stage

if TYPE_CHECKING:
    from arguments.settings import Settings

# What a base moves: columns of the table, and how many numbers of each.
NUMBERS = {"means": 3, "quats": 4, "log_scales": 3, "opacity_logits": 1, "sh_dc": 3}
WIDTH = sum(NUMBERS.values())


@dataclass(frozen=True)
class ModelHiddenParams(BodySetting, Refinement):
    """The bases, and what mixes them."""

    n_bases: int = count(20, "bases of every Gaussian; 12 are enough for a phone")
    # Two layers with nothing between them are a linear map that learns faster than one.
    mix_width: int = count(64, "width between the two layers from expression to weights")
    mix_relu: bool = setting(False, "a ReLU between them; otherwise weights are linear")
    flame_pose_input: bool = setting(False, "the weights follow the FLAME pose, too")
    head_motion_input: bool = setting(
        True,
        "the weights follow how the head moved, too, and those of the body nothing else, where "
        "there is a body part",
    )


@dataclass(frozen=True)
class OptimizationParams(BodyRates, TableRates, MomentRates, CommonOptions):
    """Schedules, losses and densification. Iterations are optimiser steps."""

    iterations: int = weight(9_000, "steps in which the bases are learned")
    coarse_iterations: int = weight(1_000, "steps of the static stage before them")
    batch_size: int = count(1, "views per step")
    bases_lr_init: float = setting(0.3, "of the bases, in rates of the columns that they move")
    bases_lr_final: float = setting(0.03, "of the bases at the end")
    mix_lr_init: float = setting(1e-3, "of the layers from expression to weights")
    mix_lr_final: float = setting(1e-4, "of these layers at the end")
    densify_grad_threshold: float = setting(2e-4, "screen-space gradient of densified Gaussians")
    opacity_threshold: float = setting(0.005, "opacity under which a Gaussian is pruned")

    without_effect: ClassVar[dict[str, str]] = NO_DELAY

    def column_rates(self, extent: float, iterations: int) -> dict[str, Schedule]:
        bases = log_linear(self.bases_lr_init, self.bases_lr_final, iterations)
        return {**super().column_rates(extent, iterations), "bases": bases}


class Method(MethodBase):
    """Gaussians that a weighted sum of their own bases moves, turns, grows, fades and paints."""

    half = ("table.columns.bases",)

    @classmethod
    def needs(cls, settings: Settings) -> tuple[str, ...]:
        return ("flame_pose", "expression") if settings.hidden.flame_pose_input else ("expression",)

    def __init__(self, facts: SceneFacts, settings: Settings, points: PointCloud) -> None:
        super().__init__(facts, settings)
        h, o = self.hidden, self.optim
        self.table = GaussianTable.from_points(points, self.sh_degree, facts.extent)
        self.table.columns["bases"] = nn.Parameter(torch.zeros(len(points.xyz), h.n_bases, WIDTH))
        self.add_body()
        # A base's numbers count in first steps of their columns, so that one rate serves them all.
        rates = o.column_rates(facts.extent, o.iterations)
        steps = [torch.full((size,), rates[name](1)) for name, size in NUMBERS.items()]
        self.register_buffer("units", torch.cat(steps))
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            inputs, noise = self.needs(settings), o.code_noise
            self.code = ConditionCode(facts, inputs, h.mix_width, noise=noise, seed=self.seed)
            self.mix = nn.Linear(h.mix_width, h.n_bases)
            self.motion: ConditionCode | None = None
            if self.body is not None and h.head_motion_input:
                self.motion = ConditionCode(facts, MOTION, h.mix_width, noise=noise, seed=self.seed)
                nn.init.zeros_(self.motion.layer.weight)
                nn.init.zeros_(self.motion.layer.bias)
        # What training does not tell, such as half of a gesture, must do nothing: not what chance
        # says. Half of a perceptron's units would never wake.
        if not h.mix_relu:
            nn.init.zeros_(self.code.layer.weight)
        refined = h.refined((*inputs, "camera"))
        self.frames = FrameCodes(facts, refined, 0) if refined else None

    def prepare(self, frame: Frame) -> Frame:
        return frame if self.frames is None else self.frames.refine(frame)

    def forward(self, frame: Frame) -> Gaussians:
        columns = self._moved(*self._codes(frame))
        return activate(self.on_body(columns, frame), self.drawn_sh_degree)

    def canonical(self, frame: Frame) -> Gaussians:
        return activate(self.on_body(dict(self.table.columns), frame), self.drawn_sh_degree)

    @torch.no_grad()
    def exported(self) -> Gaussians:
        """The Gaussians of the mean expression, from bases as they are kept."""
        bases = as_half(self.table.columns["bases"])
        return activate(self._moved(*self._codes(None), bases), self.sh_degree)

    @torch.no_grad()
    def settle(self) -> None:
        halved = as_half(self.table.columns["bases"])
        self.table.columns["bases"] = nn.Parameter(halved, requires_grad=False)

    @property
    def codes(self) -> FrameCodes | None:
        return self.frames

    def stages(self) -> list[Stage]:
        o, facts = self.optim, self.facts
        losses = o.pictures(1.0) + in_regions(o.lambda_regions, facts.regions)
        limits = constant(o.densify_grad_threshold), constant(o.opacity_threshold)
        densify = partial(o.densify, facts, seed=self.seed)
        coarse, fine, views = o.coarse_iterations, o.iterations, Shuffled(o.batch_size)
        return [
            Stage("coarse", coarse, self.canonical, self._table_groups(coarse, ["bases"]), losses,
                  densify(coarse, *limits, last=False), views, only_drawn=o.sparse_adam),
            Stage("fine", fine, self.forward,
                  o.cooled(self._table_groups(fine) + self._mix_groups(fine), fine)
                  + o.moment_groups(self.frames),
                  losses + o.moment_losses(self.frames), densify(fine, *limits), views,
                  only_drawn=o.sparse_adam),
        ]  # fmt: skip

    def load(self, state: dict[str, Tensor]) -> None:
        if self.motion is not None and "motion.layer.weight" not in state:  # an older version's
            self.motion = None
        super().load(state)

    def _codes(self, frame: Frame | None) -> tuple[Tensor, Tensor | None]:
        """Of the head and of the body (None: the head's) in a frame, or at the mean of all."""
        step = self.at_step
        head = self.code.layer.bias if frame is None else self.code(frame, step)
        if self.motion is None:
            return head, None
        known = frame is not None and frame.body_to_world is not None
        motion = self.motion(frame, step) if known else self.motion.layer.bias
        return head + motion, self.code.layer.bias + motion

    def _moved(
        self, head: Tensor, body: Tensor | None, bases: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The table's columns with what their bases, or these, add for codes of head and body.

        A row takes of both what its weight between head and body says, which learns nothing here:
        it is to say what moves with what, not which bases fit better.
        """
        columns = dict(self.table.columns)
        own = columns.pop("bases")
        bases, given = own if bases is None else bases, [columns[name] for name in NUMBERS]
        if body is None:
            moved = add_bases(given, bases, self._weights(head))
        else:
            share = columns[COLUMN].detach().sigmoid()[:, 0]
            moved = add_bases(given, bases, self._weights(head), self._weights(body), share)
        return {**columns, **dict(zip(NUMBERS, moved, strict=True))}

    def _weights(self, code: Tensor) -> Tensor:
        """(K, C) of the bases, number by number, for a code."""
        weights = self.mix(nn.functional.relu(code) if self.hidden.mix_relu else code)
        return weights[:, None] * self.units

    def _table_groups(self, iterations: int, apart: Sequence[str] = ()) -> list[ParamGroup]:
        rows = self.optim.table_groups(self.table, self.facts.extent, iterations, apart)
        return rows + self.body_groups()

    def _mix_groups(self, iterations: int) -> list[ParamGroup]:
        rate = log_linear(self.optim.mix_lr_init, self.optim.mix_lr_final, iterations)
        parts = {"code": self.code, "mix": self.mix}
        if self.motion is not None:
            parts["motion"] = self.motion
        return [ParamGroup(name, part.parameters, rate) for name, part in parts.items()]
