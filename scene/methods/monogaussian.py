"""MonoGaussianAvatar (Chen et al., "MonoGaussianAvatar: Monocular Gaussian Point-based Head
Avatar", SIGGRAPH 2024): points that a head model moves without a mesh.

Settings named reference_... bring a defect of the published code back, each by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from arguments.legacy import NO_DELAY
from arguments.settings import again, between, count, setting, weight
from scene.deformation.attributes import AttributeNet, as_columns, radius
from scene.deformation.head_surface import HeadSurface
from scene.deformation.mlp import OffsetMLP
from scene.deformation.skinning import NECK, Bases, BlendTable, Rig, SkinField, distance, posed
from scene.facts import SceneFacts
from scene.frame_codes import FrameCodes
from scene.frames import NO_ROW, Frame, PointCloud
from scene.gaussian_model import Gaussians, GaussianTable, activate
from scene.methods import MethodBase
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
from utils.random import generator

if TYPE_CHECKING:
    from arguments.settings import Settings
    from gaussian_renderer import Render

JAW = 6  # place of the jaw's x angle in a pose
REFINED = ("expression", "flame_pose", "camera")
CORRECTED = {"log_scales": 3, "quats": 4, "opacity_logits": 1, "sh_dc": 3}
OPACITY = 0.5  # of the first points
OCTAVES = 6  # of the attribute network's encoding (published)
NEAR, SHRINK = 0.5, 1.3  # a copy is born so far from its parent, in its sizes, and so much smaller
SAMPLE = 1_024  # points at which a step holds the field to the head model
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


@dataclass(frozen=True)
class Points:
    """The table's points as every frame needs them."""

    places: Tensor  # (N, 3) in canonical space
    skin: Tensor  # (N, 6) weights of ghost and joints
    look: dict[str, Tensor]  # raw columns, quaternions of length one where they turn


class Method(MethodBase):
    """Points in canonical space whose blendshapes and skinning weights are near a head model's."""

    @classmethod
    def needs(cls, settings: Settings) -> tuple[str, ...]:
        return ("flame_pose", "expression", "subject.model")

    def __init__(self, facts: SceneFacts, settings: Settings, points: PointCloud) -> None:
        super().__init__(facts, settings)
        h, head, known = self.hidden, points.head, facts.conditions["expression"]
        quarter = facts.subject.scale / 4  # metre in world units: the published unit
        self.unit = 1.0 if h.reference_units else quarter
        pose = torch.zeros(15)
        pose[JAW] = h.canonical_jaw
        self.register_buffer("canonical_expression", known.mean.clone())
        self.register_buffer("canonical_pose", pose)
        self.register_buffer("spread", known.spread, persistent=False)
        self.rig = Rig(len(known.mean), head)
        self.surface = None if head is None else HeadSurface(head, known.mean, pose, quarter)
        self.start = settings.model.init_points
        self.table = self._table(0 if head is None else self.start)
        self.add_body()
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self._build_networks()
        refined = h.refined(REFINED)
        self.frames = FrameCodes(facts, refined, 0) if refined else None
        self.growths = {refill.step for refill in self._refills()[1:]}  # where rows find new places
        # Of a model that is only drawn: its points, what moves them, and the canonical state.
        self.baked: tuple[Points, BlendTable, tuple[Tensor, Tensor]] | None = None

    def prepare(self, frame: Frame) -> Frame:
        if self.frames is None or frame.index == NO_ROW:
            return frame
        base, frame = self._bones(frame)[0][0], self.frames.refine(frame)
        neck = self.rig(frame.flame_pose, frame.expression)[0][NECK]
        return replace(frame, head_to_world=base @ neck)

    def forward(self, frame: Frame) -> Gaussians:
        bones, coefficients = self._bones(frame)
        if self.baked is None:
            still, known = self._canonical()
            p, blend = self._points(coefficients - known)
        else:
            p, table, (still, known) = self.baked
            blend = table(coefficients - known)
        means, quats = posed(p.places, blend, p.skin, p.look["quats"], bones, still)
        columns = p.look | {"means": means}
        if not self.hidden.reference_rotation:
            columns["quats"] = quats
        if self.corrections is not None:
            way = (means - p.places).detach() / self.unit
            known = torch.cat([way, columns.pop("features")], 1) if "features" in columns else way
            for name, offset in self.corrections(known).items():
                columns[name] = columns[name] + offset.reshape(columns[name].shape)
        columns = self.on_body(self._drawn(columns), frame)
        return activate(columns, self.drawn_sh_degree)

    @torch.no_grad()
    def exported(self) -> Gaussians:
        """The canonical head."""
        points, _ = self._every_point()
        return activate(self._drawn(points.look | {"means": points.places}), self.sh_degree)

    @torch.no_grad()
    def settle(self) -> None:
        points, bases = self._every_point()
        self.baked = points, BlendTable(bases.blend, self.unit), self._canonical()

    @property
    def codes(self) -> FrameCodes | None:
        return self.frames

    def stages(self) -> list[Stage]:
        o = self.optim
        losses = [*o.pictures(1.0), *perceptual(o.lambda_vgg)]
        losses += in_regions(o.lambda_regions, self.facts.regions)
        if o.lambda_targets:
            held = halved(o.lambda_targets, HALVED, o.iterations)
            losses.append(Loss("targets", held, self._distance))
        losses += o.moment_losses(self.frames)
        views = Shuffled(o.batch_size)
        return [Stage("main", o.iterations, self, self._groups(), losses, self._schedule(), views)]

    def on_step(self, step: int) -> None:
        super().on_step(step)
        if self.surface is not None and step - 1 in self.growths:
            self._anchor()

    def _table(self, count: int) -> GaussianTable:
        """`count` points on the canonical head and about it."""
        h = self.hidden
        xyz, rgb = self.surface.start(count, self.seed) if count else torch.zeros(2, 0, 3)
        if h.start_on_sphere:
            xyz = torch.rand(count, 3, generator=generator(self.seed, "sphere")) - 0.5
            xyz = 0.5 * self.unit * nn.functional.normalize(xyz, dim=1)
        columns = dict(GaussianTable.from_points(PointCloud(xyz, rgb), self.sh_degree).columns)
        columns = {name: column.detach().clone() for name, column in columns.items()}
        columns["opacity_logits"].fill_(math.log(OPACITY / (1 - OPACITY)))
        if h.attribute_width:
            columns = {name: columns[name] for name in ("means", "sh_rest")}
        if h.feature_width and h.correction_width:
            columns["features"] = torch.zeros(count, h.feature_width)
        anchors = self._targets(xyz) if count else Bases.none(len(self.spread))
        return GaussianTable(columns, vars(anchors) if h.anchored else None)

    @torch.no_grad()
    def _anchor(self) -> None:
        """What the head model says where the points are now."""
        if self.hidden.anchored:
            found = self._targets(self.table.columns["means"])
            for name, column in vars(found).items():
                getattr(self.table.fixed, name).copy_(column)

    def _targets(self, points: Tensor) -> Bases:
        free, anywhere = not self.hidden.anchored, self.optim.reference_targets
        return self.surface.bases(points.detach(), by_vertex=free, anywhere=anywhere)

    def _build_networks(self) -> None:
        h = self.hidden
        self.field = SkinField(
            len(self.spread), self.unit, width=h.field_width, depth=h.field_depth,
            octaves=h.field_octaves, smooth=h.field_smooth,
        )  # fmt: skip
        self.attributes = self.corrections = None
        if h.attribute_width:
            size = {"width": h.attribute_width, "depth": h.attribute_depth}
            self.attributes = AttributeNet(**size, octaves=OCTAVES)
        if h.correction_width:
            n_inputs, width = 3 + h.feature_width, h.correction_width
            self.corrections = OffsetMLP(n_inputs, width, h.correction_depth, CORRECTED)

    def _canonical(self) -> tuple[Tensor, Tensor]:
        return self.rig.canonical_bones(self.canonical_pose, self.canonical_expression)

    def _bones(self, frame: Frame) -> tuple[Tensor, Tensor]:
        return self.rig.bones(frame.flame_pose, frame.expression, frame.head_to_world)

    def _points(self, moved: Tensor) -> tuple[Points, Tensor]:
        """The points, and what blend coefficients (E + 36,) beyond the canonical ones add, (N,
        3)."""
        means = self.table.columns["means"]
        blend, skin, offset = self.field(means, moved, self._known(slice(None)))
        return self._of(self._placed(means, offset), skin), blend

    def _every_point(self) -> tuple[Points, Bases]:
        """The points and their bases."""
        means, found, offset = self._bases(slice(None))
        return self._of(self._placed(means, offset), found.skin), found

    def _of(self, places: Tensor, skin: Tensor) -> Points:
        look = self._look()
        if not self.hidden.reference_rotation:
            look["quats"] = nn.functional.normalize(look["quats"], dim=-1)
        return Points(places, skin, look)

    def _known(self, rows: Tensor | slice) -> Bases | None:
        """What the head model says of some rows where the field adds to it."""
        if not self.hidden.anchored:
            return None
        return Bases(**{name: c[rows] for name, c in self.table.fixed.named_buffers()})

    def _bases(self, rows: Tensor | slice) -> tuple[Tensor, Bases, Tensor]:
        """Places, bases and canonical offsets of some rows."""
        means = self.table.columns["means"][rows]
        return means, *self.field.whole(means, self._known(rows))

    def _placed(self, means: Tensor, offset: Tensor) -> Tensor:
        return means + offset if self.hidden.canonical_offset else means

    def _look(self) -> dict[str, Tensor]:
        """Raw columns, or what the attribute network says under their names."""
        columns = {name: c for name, c in self.table.columns.items() if name != "means"}
        if self.attributes is not None:
            columns |= self.attributes(self.table.columns["means"] / self.unit)
        return columns

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

    def _distance(self, renders: list[Render], frames: list[Frame], step: int) -> Tensor:
        """Of some points' bases and weights from the head model's."""
        source = generator(self.seed, "targets", step)
        rows = torch.randint(len(self.table), (SAMPLE,), generator=source)
        rows = rows.to(self.spread.device)
        means, found, offset = self._bases(rows)
        wanted = self._known(rows) or self._targets(self._placed(means, offset))
        return distance(found, wanted, self.spread, self.unit)

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
