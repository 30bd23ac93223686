"""GaussianHead (Wang et al., "GaussianHead: High-fidelity Head Avatars with Learnable Gaussian
Derivation", TVCG 2025): expressions move the Gaussians, a tri-plane read at learned rotated copies
of them says how their looks change; published, it says all of them.

Settings named reference_... bring a defect of the published code back, each by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from fused_fields import unit_rows
from torch import Tensor, nn

from arguments.legacy import NO_DELAY
from arguments.settings import at_least, between, count, setting, weight
from scene.deformation.appearance import AppearanceDecoder
from scene.deformation.positional import PositionalMLP
from scene.deformation.triplane import TriPlane, drawn_rotations, places
from scene.facts import SceneFacts
from scene.frame_codes import ConditionCode
from scene.frames import Frame, PointCloud
from scene.gaussian_model import Gaussians, GaussianTable, activate
from scene.methods import MethodBase
from training.losses import in_regions, perceptual
from training.optimizers import ParamGroup
from training.options import FEATURE_REST, BodyRates, BodySetting, CommonOptions, MlpSetting
from training.samplers import Shuffled
from training.schedules import Schedule, constant, log_linear
from training.stage import Stage
from utils.random import generator

if TYPE_CHECKING:
    from arguments.settings import Settings

TINY = 1e-7  # world units; no Gaussian is thinner
STORED = ("opacity_logits", "sh_dc")  # columns that the decoders add to


@dataclass(frozen=True)
class ModelHiddenParams(BodySetting, MlpSetting):
    """The deformation MLP, the tri-plane and the decoders."""

    deform_width: int = count(256, "width of the deformation MLP")
    deform_depth: int = setting(8, "its layers", valid=between(5, 64))
    deform_octaves: int = setting(10, "octaves of its encoding of positions", valid=between(0, 64))
    code_width: int = count(46, "numbers that expression and pose are condensed to")
    flame_pose_input: bool = setting(False, "the deformation knows the FLAME pose, too")
    n_rotations: int = count(4, "copies of every Gaussian that read the tri-plane")
    rotate_copies: bool = setting(
        True, "turn the copies by learned rotations; otherwise all lie on the Gaussian itself"
    )
    plane_resolution: int = setting(64, "nodes along each side of a plane", valid=at_least(2))
    plane_channels: int = count(32, "channels of a plane, shared out among the copies")
    decoder_width: int = count(64, "width of the decoders of opacity and colour")
    reference_look: bool = setting(
        False, "planes and decoders say the whole opacity and colour, nothing of them is stored"
    )
    # parity: one family's box; a sum over the wrong index; a count as an index; no factor 2 pi;
    # only unit quaternions; two linear layers in a row; negative scales (here a tiny one remains)
    reference_box: bool = setting(False, "planes span [-1, 1], whatever the head's size")
    reference_contraction: bool = setting(False, "scale positions by sums of columns, do not turn")
    reference_channels: bool = setting(False, "all copies read the last group of channels")
    reference_draw: bool = setting(False, "draw the first rotations from angles up to one radian")
    reference_matrix: bool = setting(False, "matrices of long or short quaternions do not rotate")
    reference_color: bool = setting(False, "colour is a linear function of features and direction")
    reference_scales: bool = setting(False, "expressions add to scales, not to their logarithms")


@dataclass(frozen=True)
class OptimizationParams(BodyRates, CommonOptions):
    """Schedules, losses and densification. Lengths of schedules: 0 is that of the stage."""

    iterations: int = weight(80_000, "steps of the training")
    warm_up: int = weight(3_000, "step at which expressions begin to move the Gaussians")
    batch_size: int = count(1, "views per step")
    # Published: 1.6e-4 and 1.6e-6 times five, where the points fill a cube of half-size 1.3.
    position_lr_init: float = setting(6.2e-4, "of the positions, times the points' half-size")
    position_lr_final: float = setting(6.2e-6, "of the positions after position_lr_max_steps")
    position_lr_max_steps: int = weight(30_000, "length of the schedule of the positions")
    deform_lr_init: float = setting(8e-4, "of the deformation MLP")
    deform_lr_final: float = setting(1.6e-6, "of the deformation MLP after deform_lr_max_steps")
    deform_lr_max_steps: int = weight(80_000, "length of the schedule of the deformation MLP")
    quater_lr_init: float = setting(1e-3, "of the copies' rotations")
    quater_lr_final: float = setting(1.6e-6, "of the copies' rotations after quater_lr_max_step")
    quater_lr_max_step: int = weight(80_000, "length of the schedule of the rotations")
    triplane_lr: float = setting(1e-3, "of the planes")
    triplane_lr_final: float = setting(1.6e-6, "of the planes after triplane_lr_max_step")
    triplane_lr_max_step: int = weight(80_000, "length of the schedule of the planes")
    opacity_lr: float = setting(1e-4, "of the last layer of the decoder of opacities")
    geometry_lr: float = setting(1e-4, "of the layers that opacities and colours share")
    feature_lr: float = setting(1e-3, "of the decoder of colours; SH above degree 0 a twentieth")
    stored_opacity_lr: float = setting(0.05, "of the opacity logits that are stored")
    stored_feature_lr: float = setting(2.5e-3, "of the colours that are stored")
    lambda_dssim: float = weight(0.2, "of 1 - SSIM; L1 has the rest of 1")
    lambda_vgg: float = weight(0.01, "of the distance of VGG16's features; off without weights")
    densify_grad_threshold: float = setting(2e-4, "screen-space gradient of densified Gaussians")
    opacity_threshold: float = setting(0.005, "opacity under which a Gaussian is pruned")
    opacity_reset_interval: int = count(
        3_000,
        "steps between resets of stored opacities to 0.01; from the first on, stored or not, "
        "Gaussians of a tenth of the head are pruned",
    )
    # parity: geoopt is given a plain parameter; the schedule looks for a group of another name;
    # moments are looked for in another optimizer; the last view's opacities stand for all.
    reference_adam: bool = setting(False, "plain Adam on the rotations, off the unit sphere")
    reference_rate: bool = setting(False, "the rate of the rotations stays quater_lr_init")
    reference_moments: bool = setting(False, "rotations lose their moments when rows come or go")
    reference_pruning: bool = setting(False, "prune by the last view's opacities, not the greatest")

    without_effect: ClassVar[dict[str, str]] = NO_DELAY

    def column_rates(self, extent: float, iterations: int) -> dict[str, Schedule]:
        return {
            **super().column_rates(extent, iterations),
            "opacity_logits": constant(self.stored_opacity_lr),
            "sh_dc": constant(self.stored_feature_lr),
        }


class Method(MethodBase):
    """Expressions move Gaussians whose looks a tri-plane holds, read at rotated copies of each."""

    sees_camera = True

    @classmethod
    def needs(cls, settings: Settings) -> tuple[str, ...]:
        return ("flame_pose", "expression") if settings.hidden.flame_pose_input else ("expression",)

    def __init__(self, facts: SceneFacts, settings: Settings, points: PointCloud) -> None:
        super().__init__(facts, settings)
        (low, high), raw = facts.box, self.hidden.reference_box
        self.extent = float((high - low).amax()) / 2
        self.register_buffer("center", torch.zeros(3) if raw else (low + high) / 2)
        self.register_buffer("unit", torch.tensor(1.0 if raw else self.extent))
        self.register_buffer("front", facts.eye.clone())  # where `exported` looks from
        columns, h = dict(GaussianTable.from_points(points, 0, facts.extent).columns), self.hidden
        for name in ("sh_rest", *(STORED if h.reference_look else ())):
            del columns[name]
        if h.rotate_copies:
            source = generator(self.seed, "rotations of the copies")
            drawn = drawn_rotations(h.n_rotations, source, whole_turn=not h.reference_draw)
            columns["rotations"] = drawn.repeat(len(points.xyz), 1, 1)  # all start alike
        self.table = GaussianTable(columns)
        self.add_body()
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self._build_networks(self.needs(settings))

    def forward(self, frame: Frame) -> Gaussians:
        columns = self._decoded(self._moved(frame), frame.camera.center)
        return activate(self.on_body(columns, frame), self.drawn_sh_degree)

    @torch.no_grad()
    def exported(self) -> Gaussians:
        """The canonical Gaussians as they look from the mean training camera."""
        columns = self._decoded(dict(self.table.columns), self.front)
        rest, every = columns["sh_rest"], (self.sh_degree + 1) ** 2 - 1
        columns["sh_rest"] = nn.functional.pad(rest, (0, 0, 0, every - rest.shape[1]))
        return activate(columns, self.sh_degree)

    def stages(self) -> list[Stage]:
        o = self.optim
        losses = o.pictures(1 - o.lambda_dssim)
        losses += in_regions(o.lambda_regions, self.facts.regions) + perceptual(o.lambda_vgg)
        strategy = o.densify(
            self.facts, o.iterations, constant(o.densify_grad_threshold),
            constant(o.opacity_threshold), seed=self.seed, size=self.extent,
            opacity=self._pruning(),
        )  # fmt: skip
        shared = (self._groups(), losses, strategy, Shuffled(o.batch_size))
        return [Stage("main", o.iterations, self.forward, *shared)]

    def load(self, state: dict[str, Tensor]) -> None:
        """As of every method; what older versions saved stores nothing of the look."""
        rows = len(state.get("table.columns.means", ()))
        shapes = {"opacity_logits": (rows, 1), "sh_dc": (rows, 1, 3)}
        stored = [name for name in STORED if name in self.table.columns]
        nothing = {f"table.columns.{name}": torch.zeros(shapes[name]) for name in stored}
        super().load(nothing | state)

    def _pruning(self) -> str:
        """Whose opacity prunes a row."""
        if self.optim.reference_pruning:
            return "latest"
        return "greatest" if self.hidden.reference_look else "stored"

    def _build_networks(self, inputs: tuple[str, ...]) -> None:
        h, noise = self.hidden, self.optim.code_noise
        self.code = ConditionCode(self.facts, inputs, h.code_width, noise=noise, seed=self.seed)
        self.deform = PositionalMLP(
            octaves=h.deform_octaves, code_width=h.code_width, width=h.deform_width,
            depth=h.deform_depth, heads={"means": 3, "quats": 4, "log_scales": 3}, bf16=h.mlp_bf16,
        )  # fmt: skip
        self.planes = TriPlane(
            resolution=h.plane_resolution, channels=h.plane_channels, n_copies=h.n_rotations,
            last_group_only=h.reference_channels,
        )  # fmt: skip
        self.decoder = AppearanceDecoder(
            h.plane_channels, h.decoder_width, self.sh_degree, from_zero=not h.reference_look,
            linear_color=h.reference_color,
        )  # fmt: skip

    def _moved(self, frame: Frame) -> dict[str, Tensor]:
        """The table's columns as the frame's expression has them."""
        columns = dict(self.table.columns)
        if self.at_step < self.optim.warm_up:
            return columns
        offsets = self.deform(self._in_box(columns), self.code(frame, self.at_step))
        columns["means"] = columns["means"] + self.unit * offsets["means"]
        columns["quats"] = unit_rows(columns["quats"]) + offsets["quats"]
        if self.hidden.reference_scales:
            scales = columns["log_scales"].exp() + self.unit * offsets["log_scales"]
            columns["log_scales"] = scales.clamp(min=TINY).log()
        else:
            columns["log_scales"] = columns["log_scales"] + offsets["log_scales"]
        return columns

    def _decoded(self, columns: dict[str, Tensor], eye: Tensor) -> dict[str, Tensor]:
        """The columns with opacity and colour as they are at their place, seen from `eye` (3,)."""
        features = self.planes(self._copies(self._in_box(columns)))
        # From where the Gaussian rests: a move changes its look through the planes alone.
        means = self.table.columns["means"]
        directions = unit_rows(means, eye.to(means))
        look = self.decoder(features, directions, (self.drawn_sh_degree + 1) ** 2)
        for name in STORED if not self.hidden.reference_look else ():
            look[name] = look[name] + columns[name]
        return columns | look

    def _in_box(self, columns: dict[str, Tensor]) -> Tensor:
        """(N, 3) places in the unit of the planes: the first points lie in [-1, 1]^3."""
        return (columns["means"] - self.center) / self.unit

    def _copies(self, points: Tensor) -> Tensor:
        """Points (N, 3) in the box to the places (N, T, 3) where they read the planes."""
        h = self.hidden
        if not h.rotate_copies:
            return points[:, None].expand(-1, h.n_rotations, -1)
        quats, wrong = self.table.columns["rotations"], h.reference_contraction
        return places(points, quats, by_columns=wrong, unscaled=h.reference_matrix)

    def _groups(self) -> list[ParamGroup]:
        o, decoder = self.optim, self.decoder
        mlp = self._falling(o.deform_lr_init, o.deform_lr_final, o.deform_lr_max_steps)
        planes = self._falling(o.triplane_lr, o.triplane_lr_final, o.triplane_lr_max_step)
        color, geometry = constant(o.feature_lr), constant(o.geometry_lr)
        rates = {
            "deformation": (self.deform, mlp), "code": (self.code, mlp),
            "planes": (self.planes, planes), "opacity": (decoder.opacity, constant(o.opacity_lr)),
            "shared": (decoder.shared, geometry), "geometry": (decoder.geometry, geometry),
            "color": (decoder.color, color), "dc": (decoder.dc, color),
            "rest": (decoder.rest, constant(o.feature_lr / FEATURE_REST)),
        }  # fmt: skip
        groups = o.table_groups(self.table, self.extent, o.iterations, apart=["rotations"])
        groups += self.body_groups()
        groups += [ParamGroup(name, part.parameters, lr) for name, (part, lr) in rates.items()]
        if self.hidden.rotate_copies:
            groups.append(self._rotation_group())
        return o.cooled(groups, o.iterations)

    def _rotation_group(self) -> ParamGroup:
        o = self.optim
        falling = self._falling(o.quater_lr_init, o.quater_lr_final, o.quater_lr_max_step)
        return ParamGroup(
            "rotations", lambda: [self.table.columns["rotations"]],
            constant(o.quater_lr_init) if o.reference_rate else falling,
            manifold=None if o.reference_adam else "sphere",
            keeps_moments=not o.reference_moments,
        )  # fmt: skip

    def _falling(self, start: float, end: float, steps: int) -> Schedule:
        return log_linear(start, end, steps or self.optim.iterations)

    @property
    def activations_per_row(self) -> int:
        # Of decoders, of the MLP's encoding, copies, what is drawn; few gradients live.
        h = self.hidden
        mlp = 2 * (3 + 6 * h.deform_octaves)
        decoders = 4 * h.plane_channels + 5 * h.decoder_width + 4 * 48
        return mlp + decoders + 30 * h.n_rotations + 5 * (1 + 3 * (self.sh_degree + 1) ** 2)
