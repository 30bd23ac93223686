"""MonoGaussianAvatar (Chen et al., "MonoGaussianAvatar: Monocular Gaussian Point-based Head
Avatar", SIGGRAPH 2024): points that a head model moves without a mesh.

Settings named reference_... bring a defect of the published code back, each by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from arguments.legacy import NO_DELAY
from arguments.settings import again, between, count, setting, weight
from scene.deformation.attributes import AttributeNet, as_columns, radius
from scene.deformation.mlp import OffsetMLP
from scene.deformation.skinning import NECK
from scene.facts import SceneFacts
from scene.frame_codes import FrameCodes
from scene.frames import NO_ROW, Frame, PointCloud
from scene.gaussian_model import Gaussians, activate
from scene.methods._head_points import HeadPoints
from training.births import Rows, beside, shaken
from training.losses import in_regions, perceptual
from training.optimizers import ParamGroup
from training.options import (
    BodyRates,
    BodySetting,
    CommonOptions,
    MomentRates,
    PointTable,
    Refinement,
    TableRates,
)
from training.point_schedule import MASKS_OR_CAMERAS, PointSchedule, Refill, drawn, opaque
from training.samplers import Shuffled
from training.schedules import Schedule, constant, halved, log_linear, rising
from training.stage import Loss, Stage

if TYPE_CHECKING:
    from arguments.settings import Settings

REFINED = ("expression", "flame_pose", "camera")
CORRECTED = {"log_scales": 3, "quats": 4, "opacity_logits": 1, "sh_dc": 3}
OPACITY = 0.5  # of the first points
OCTAVES = 6  # of the attribute network's encoding (published)
NEAR, SHRINK = 0.5, 1.3  # a copy is born so far from its parent, in its sizes, and so much smaller
# Parts of a run from which the field is held half as much (published, of 100 epochs).
HALVED = (0.2, 0.3, 0.5, 0.7)


@dataclass(frozen=True)
class ModelHiddenParams(BodySetting, Refinement):
    """Networks: the field of blendshapes, corrections by displacement, attributes."""

    field_width: int = count(64, "width of the field of blendshapes and skinning weights")
    field_depth: int = count(2, "its layers")
    field_octaves: int = setting(4, "octaves of its encoding of places", valid=between(0, 64))
    field_smooth: bool = setting(False, "weight-normalised layers and softplus, as published")
    anchored: bool = setting(
        True,
        "the field adds to what the head model says where the point is; otherwise the field says "
        "all, and is only held near the head model",
    )
    canonical_jaw: float = setting(0.4, "radians that the canonical jaw is open")
    canonical_offset: bool = setting(False, "the field moves the canonical points, too")
    start_on_sphere: bool = setting(
        False, "points start on a sphere within the head, as published; otherwise on its skin"
    )
    attribute_width: int = setting(
        0,
        "width of the network that says what a point looks like; 0: every point learns it",
        valid=(lambda value: value == 0 or value >= 40, "0 or at least 40"),
    )
    attribute_depth: int = setting(7, "its layers", valid=between(3, 64))
    feature_width: int = weight(8, "numbers of each point's own that its corrections know")
    correction_width: int = weight(
        32, "width of the network from displacements to corrections of the look; 0: there is none"
    )
    correction_depth: int = count(2, "its layers before the heads")
    refine_expression: bool = again(Refinement, "refine_expression", True)
    refine_flame_pose: bool = again(Refinement, "refine_flame_pose", True)
    # parity: a mean over points, so that nothing turns; sizes of one dataset's world
    reference_rotation: bool = setting(False, "quaternions normalised over all points; no turning")
    reference_units: bool = setting(False, "radii in world units, whatever the dataset's are")


@dataclass(frozen=True)
class OptimizationParams(PointTable, BodyRates, TableRates, MomentRates, CommonOptions):
    """Schedules and losses. Parts of a run are in [0, 1]."""

    iterations: int = weight(30_000, "steps of the training")
    batch_size: int = count(1, "views per step")
    field_lr: float = setting(1e-3, "of the field and of the corrections")
    attribute_lr: float = setting(1e-4, "of the network of attributes")
    lr_final: float = setting(0.1, "of these rates at the end, as a factor", valid=between(0, 1))
    network_warm_up: float = setting(
        0.0,
        "part of the run in which these rates rise from 0: 0.1 keeps points in the picture where "
        "lambda_targets is 0",
        valid=between(0, 1),
    )
    frame_lr: float = again(MomentRates, "frame_lr", 5e-4)
    refine_after: int = weight(0, "steps before that is learned; 0 is a tenth of the run")
    lambda_dssim: float = weight(0.25, "of 1 - SSIM")
    lambda_vgg: float = weight(0.0, "of the distance of VGG16's features; off without weights")
    lambda_targets: float = weight(
        10.0, "of the distance of the field from the head model; halved four times in a run"
    )
    # parity: moments are lost at every refill; opacity alone counts; the nearest vertex counts at
    # any distance, so that it drags hair and cloth
    reference_moments: bool = setting(False, "every optimizer starts afresh at every refill")
    reference_pruning: bool = setting(False, "prune by opacity alone, be a point seen or not")
    reference_targets: bool = setting(False, "the nearest vertex binds points at any distance")

    without_effect: ClassVar[dict[str, str]] = NO_DELAY

    def column_rates(self, extent: float, iterations: int) -> dict[str, Schedule]:
        return {
            **super().column_rates(extent, iterations),
            "features": constant(self.feature_lr),
        }


class Method(HeadPoints):
    """Points that move with a head model, whose looks follow how far they are from their canonical
    place."""

    @classmethod
    def needs(cls, settings: Settings) -> tuple[str, ...]:
        return ("flame_pose", "expression", "subject.model")

    def __init__(self, facts: SceneFacts, settings: Settings, points: PointCloud) -> None:
        super().__init__(facts, settings, points)
        self.start = settings.model.init_points
        refined = self.hidden.refined(REFINED)
        self.frames = FrameCodes(facts, refined, 0) if refined else None
        self.growths = {refill.step for refill in self._refills()[1:]}  # where rows find new places

    def build_networks(self) -> None:
        super().build_networks()
        h = self.hidden
        self.attributes = self.corrections = None
        if h.attribute_width:
            size = {"width": h.attribute_width, "depth": h.attribute_depth}
            self.attributes = AttributeNet(**size, octaves=OCTAVES)
        if h.correction_width:
            n_inputs, width = 3 + h.feature_width, h.correction_width
            self.corrections = OffsetMLP(n_inputs, width, h.correction_depth, CORRECTED)

    def first_columns(self, xyz: Tensor, rgb: Tensor) -> dict[str, Tensor]:
        h, columns = self.hidden, super().first_columns(xyz, rgb)
        columns["opacity_logits"].fill_(math.log(OPACITY / (1 - OPACITY)))
        if h.attribute_width:
            columns = {name: columns[name] for name in ("means", "sh_rest")}
        if h.feature_width and h.correction_width:
            columns["features"] = torch.zeros(len(xyz), h.feature_width)
        return columns

    def look(self) -> dict[str, Tensor]:
        columns = super().look()
        if self.attributes is not None:
            columns |= self.attributes(self.table.columns["means"] / self.unit)
        return columns

    def prepare(self, frame: Frame) -> Frame:
        if self.frames is None or frame.index == NO_ROW:
            return frame
        base, frame = self.bones(frame)[0][0], self.frames.refine(frame)
        neck = self.rig(frame.flame_pose, frame.expression)[0][NECK]
        return replace(frame, head_to_world=base @ neck)

    def forward(self, frame: Frame) -> Gaussians:
        columns, way = self.moved(frame)
        if self.corrections is not None:
            way = way.detach() / self.unit
            known = torch.cat([way, columns.pop("features")], 1) if "features" in columns else way
            for name, offset in self.corrections(known).items():
                columns[name] = columns[name] + offset.reshape(columns[name].shape)
        columns = self.on_body(self._drawn(columns), frame)
        return activate(columns, self.drawn_sh_degree)

    @torch.no_grad()
    def exported(self) -> Gaussians:
        """The canonical head."""
        points, _ = self.every_point()
        return activate(self._drawn(points.look | {"means": points.places}), self.sh_degree)

    @property
    def codes(self) -> FrameCodes | None:
        return self.frames

    def stages(self) -> list[Stage]:
        o = self.optim
        losses = [*o.pictures(1.0), *perceptual(o.lambda_vgg)]
        losses += in_regions(o.lambda_regions, self.facts.regions)
        if o.lambda_targets:
            held = halved(o.lambda_targets, HALVED, o.iterations)
            losses.append(Loss("targets", held, lambda renders, frames, step: self.distance(step)))
        losses += o.moment_losses(self.frames)
        views = Shuffled(o.batch_size)
        return [Stage("main", o.iterations, self, self._groups(), losses, self._schedule(), views)]

    def on_step(self, step: int) -> None:
        super().on_step(step)
        if self.surface is not None and step - 1 in self.growths:
            self.anchor()

    def _drawn(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        """The look, after corrections, as `activate` wants it."""
        if self.attributes is None:
            return columns
        still = self.hidden.reference_rotation
        return as_columns(columns, self.radius(), self.unit, reference_rotation=still)

    def radius(self) -> float:
        """What is added to every scale of the attribute network, in `unit`."""
        return radius(max(self.at_step - 1, 0) / self.optim.iterations)

    def _refills(self) -> list[Refill]:
        return self.optim.refill_table(self.start, self.max_rows)

    def _schedule(self) -> PointSchedule:
        o = self.optim
        return PointSchedule(
            self._refills(), o.refill_interval, self._copies, self.seed,
            (opaque if o.reference_pruning else drawn)(o.prune_opacity),
            until=round(o.refill_until * o.iterations), keeps_moments=not o.reference_moments,
            advice=self._advice,
        )  # fmt: skip

    def _copies(self, rows: Rows, source: torch.Generator) -> Rows:
        """Copies near their parents, each within its parent's size, or as published."""
        if self.attributes is not None:
            return shaken(self.unit * self.radius())(rows, source)
        return beside(NEAR, SHRINK)(rows, source)

    def _advice(self) -> str:
        """Where no view shows a point any more: why, as far as it can be told."""
        o, most = self.optim, float(self.exported().opacities.max())
        if most < o.prune_opacity:
            rate = "opacity_lr" if self.attributes is None else "attribute_lr"
            return (
                f"the most opaque has {most:.3f}, less than prune_opacity {o.prune_opacity:g}: "
                f"lower {rate}"
            )
        if not o.lambda_targets and not o.network_warm_up:
            return (
                "nothing holds them to the head, so they moved out of the picture: give "
                "lambda_targets, or network_warm_up 0.1"
            )
        return MASKS_OR_CAMERAS

    def _groups(self) -> list[ParamGroup]:
        o = self.optim
        groups = o.table_groups(self.table, self.unit, o.iterations) + self.body_groups()
        networks = {"field": o.field_lr, "corrections": o.field_lr, "attributes": o.attribute_lr}
        for name, rate in networks.items():
            if (part := getattr(self, name)) is not None:
                # A wrong look is best moved out of the picture where no target holds a point, so
                # that rates may rise while looks settle.
                falling = log_linear(rate, rate * o.lr_final, o.iterations)
                rate = rising(falling, o.network_warm_up * o.iterations)
                groups.append(ParamGroup(name, part.parameters, rate))
        after = o.refine_after or o.iterations // 10
        return o.cooled(groups, o.iterations) + o.moment_groups(self.frames, after)

    @property
    def activations_per_row(self) -> int:
        # Fixed columns, twice while rows come and go; motions, encodings and what networks keep.
        return 2 * (3 * len(self.spread) + 120) + 400
