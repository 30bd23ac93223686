"""GaussianHead (Wang et al., "GaussianHead: High-fidelity Head Avatars with Learnable Gaussian
Derivation", TVCG 2025): expressions move the Gaussians, a tri-plane read at learned rotated copies
of them says how they look.

Settings named reference_... bring a defect of the published code back, each by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from arguments.settings import at_least, setting
from scene import Scene
from scene.deformation.appearance import AppearanceDecoder
from scene.deformation.positional import PositionalMLP
from scene.deformation.triplane import (
    TriPlane,
    column_scaled,
    drawn_rotations,
    rotated,
    unscaled_matrices,
)
from scene.frame_codes import ConditionCode
from scene.frames import Frame
from scene.gaussian_model import Gaussians, GaussianTable, activate, round_columns
from scene.methods import MethodBase
from training.losses import in_regions, perceptual, photometric
from training.optimizers import ParamGroup
from training.options import (
    FEATURE_REST,
    ConditionNoise,
    Densification,
    GeometryRates,
    PhotometricWeights,
)
from training.schedules import Schedule, constant, log_linear
from training.stage import Stage
from utils.random import generator
from utils.rotations import quats_to_matrices

if TYPE_CHECKING:
    from arguments.settings import Settings

SH_RAMP = 1000  # steps between one SH degree and the next
TINY = 1e-7  # world units; no Gaussian is thinner


@dataclass(frozen=True)
class ModelHiddenParams:
    """The deformation MLP, the tri-plane and the decoders."""

    deform_width: int = setting(256, "width of the deformation MLP", valid=at_least(1))
    deform_depth: int = setting(8, "its layers", valid=at_least(5))
    deform_octaves: int = setting(10, "octaves of its encoding of positions", valid=at_least(0))
    code_width: int = setting(
        46, "numbers that expression and pose are condensed to", valid=at_least(1)
    )
    flame_pose_input: bool = setting(False, "the deformation knows the FLAME pose, too")
    n_rotations: int = setting(
        4, "copies of every Gaussian that read the tri-plane", valid=at_least(1)
    )
    rotate_copies: bool = setting(
        True, "turn the copies by learned rotations; otherwise all lie on the Gaussian itself"
    )
    plane_resolution: int = setting(64, "nodes along each side of a plane", valid=at_least(2))
    plane_channels: int = setting(
        32, "channels of a plane, shared out among the copies", valid=at_least(1)
    )
    decoder_width: int = setting(
        64, "width of the decoders of opacity and colour", valid=at_least(1)
    )
    reference_box: bool = setting(  # parity: made for one family of datasets
        False, "planes span [-1, 1] world units and the MLP reads these, whatever the head's size"
    )
    reference_contraction: bool = setting(  # parity: the sum runs over the wrong index
        False, "scale the axes of a position by the sums of its matrix's columns, do not turn it"
    )
    reference_channels: bool = setting(  # parity: a count is used as an index
        False, "all copies read the last group of channels, the others are never used"
    )
    reference_draw: bool = setting(  # parity: a factor of 2 pi is missing
        False, "draw the first rotations from angles up to one radian"
    )
    reference_matrix: bool = setting(  # parity: right for unit quaternions only
        False, "matrices of quaternions that left the sphere are no rotations"
    )
    reference_color: bool = setting(  # parity: two linear layers in a row
        False, "colour is a linear function of features and direction"
    )
    reference_scales: bool = setting(  # parity: scales may become negative; here a tiny one remains
        False, "expressions add to the scales in world units instead of their logarithms"
    )


@dataclass(frozen=True)
class OptimizationParams(GeometryRates, PhotometricWeights, ConditionNoise, Densification):
    """Schedules, losses and densification. Iterations are optimiser steps."""

    iterations: int = setting(80_000, "steps of the training", valid=at_least(0))
    warm_up: int = setting(
        3_000, "step at which expressions begin to move the Gaussians", valid=at_least(0)
    )
    batch_size: int = setting(1, "views per step", valid=at_least(1))
    # Published: 1.6e-4 and 1.6e-6 times five, where the points fill a cube of half-size 1.3.
    position_lr_init: float = setting(
        6.2e-4, "of the positions, times the half-size of the points' box"
    )
    position_lr_final: float = setting(6.2e-6, "of the positions after position_lr_max_steps")
    position_lr_max_steps: int = setting(
        30_000, "length of the schedule of the positions; 0 is that of the stage", valid=at_least(0)
    )
    deform_lr_init: float = setting(8e-4, "of the deformation MLP")
    deform_lr_final: float = setting(1.6e-6, "of the deformation MLP after deform_lr_max_steps")
    deform_lr_max_steps: int = setting(
        80_000,
        "length of the schedule of the deformation MLP; 0 is that of the stage",
        valid=at_least(0),
    )
    quater_lr_init: float = setting(1e-3, "of the copies' rotations")
    quater_lr_final: float = setting(1.6e-6, "of the copies' rotations after quater_lr_max_step")
    quater_lr_max_step: int = setting(
        80_000, "length of the schedule of the rotations; 0 is that of the stage", valid=at_least(0)
    )
    triplane_lr: float = setting(1e-3, "of the planes")
    triplane_lr_final: float = setting(1.6e-6, "of the planes after triplane_lr_max_step")
    triplane_lr_max_step: int = setting(
        80_000, "length of the schedule of the planes; 0 is that of the stage", valid=at_least(0)
    )
    opacity_lr: float = setting(1e-4, "of the last layer of the decoder of opacities")
    geometry_lr: float = setting(1e-4, "of the layers that opacities and colours share")
    feature_lr: float = setting(
        1e-3, "of the decoder of colours; its SH above degree 0 a twentieth"
    )
    lambda_dssim: float = setting(
        0.2, "weight of 1 - SSIM; L1 has the rest of 1", valid=at_least(0)
    )
    lambda_vgg: float = setting(
        0.01,
        "weight of the distance of VGG16's features; off where there are no weights",
        valid=at_least(0),
    )
    densify_grad_threshold: float = setting(
        2e-4, "screen-space gradient from which a Gaussian is densified"
    )
    opacity_threshold: float = setting(0.005, "opacity under which a Gaussian is pruned")
    opacity_reset_interval: int = setting(
        3_000,
        "step from which Gaussians as large as a tenth of the head are pruned; decoded opacities "
        "are never reset",
        valid=at_least(1),
    )
    reference_adam: bool = setting(  # parity: geoopt is given a plain parameter
        False, "plain Adam on the rotations, which then leave the unit sphere"
    )
    reference_rate: bool = setting(  # parity: the schedule looks for a group of another name
        False, "the rate of the rotations stays quater_lr_init"
    )
    reference_moments: bool = setting(  # parity: they are looked for in another optimizer
        False, "the rotations lose their moments at every densification and pruning"
    )
    reference_pruning: bool = setting(  # parity: the last view's opacities stand for all
        False, "prune by the opacities of the last view instead of the greatest of the latest ones"
    )

    without_effect: ClassVar[dict[str, str]] = {
        "position_lr_delay_mult": "the delay has zero steps",
    }


class Method(MethodBase):
    """Expressions move Gaussians whose looks a tri-plane holds, read at rotated copies of each."""

    @classmethod
    def needs(cls, settings: Settings) -> tuple[str, ...]:
        return _inputs(settings.hidden)

    def __init__(self, scene: Scene, settings: Settings) -> None:
        super().__init__()
        self.hidden, self.optim = settings.hidden, settings.optim
        self.seed, self.n_train = settings.run.seed, len(scene.train)
        self.regions = in_regions(self.optim.lambda_regions, scene.regions, scene.train)
        self.sh_degree = settings.model.sh_degree
        self.background = torch.full((3,), float(settings.model.white_background))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self._begin(0)
        low, high = scene.points.xyz.amin(0), scene.points.xyz.amax(0)
        self.extent = float((high - low).amax()) / 2
        raw = self.hidden.reference_box
        self.register_buffer("center", torch.zeros(3) if raw else (low + high) / 2)
        self.register_buffer("unit", torch.tensor(1.0 if raw else self.extent))
        centers = torch.stack([frame.camera.center for frame in scene.train])
        self.register_buffer("front", centers.mean(0))  # where `exported` looks from
        self.table = GaussianTable(round_columns(scene.points) | self._first_rotations(scene))
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self._build_networks(scene)

    def forward(self, frame: Frame) -> Gaussians:
        return activate(
            self._decoded(self._moved(frame), frame.camera.center), self.drawn_sh_degree
        )

    def canonical(self, frame: Frame) -> Gaussians:
        columns = self._decoded(dict(self.table.columns), frame.camera.center)
        return activate(columns, self.drawn_sh_degree)

    @torch.no_grad()
    def exported(self) -> Mapping[str, Tensor]:
        """The canonical Gaussians as they look from the mean training camera."""
        columns = self._decoded(dict(self.table.columns), self.front)
        columns["sh_rest"][:, (self.drawn_sh_degree + 1) ** 2 - 1 :] = 0
        return columns

    def on_step(self, step: int) -> None:
        self._begin(step)
        self.step.fill_(step)
        self.code.step = step

    def load(self, state: dict[str, Tensor]) -> None:
        super().load(state)
        self._begin(int(self.step))

    def stages(self) -> list[Stage]:
        o = self.optim
        losses = photometric(
            l1=1 - o.lambda_dssim,
            l2=o.lambda_l2,
            dssim=o.lambda_dssim,
            lpips=o.lambda_lpips,
            alpha=o.lambda_alpha,
        )
        losses += self.regions + perceptual(o.lambda_vgg)
        strategy = o.densify(
            o.iterations,
            until=o.densify_until_iter or o.iterations // 2,
            pull=constant(o.densify_grad_threshold),
            opaque=constant(o.opacity_threshold),
            patience=self.n_train,
            extent=self.extent,
            seed=self.seed,
            opacity="latest" if o.reference_pruning else "greatest",
        )
        return [
            Stage("main", o.iterations, self.forward, self._groups(), losses, strategy,
                  lambda step: self.background, batch_size=o.batch_size),
        ]  # fmt: skip

    def _begin(self, step: int) -> None:
        """What is drawn at this step; numbers, because to read a buffer would make a GPU wait."""
        self.drawn_sh_degree = min(step // SH_RAMP, self.sh_degree)
        self.deforms = step >= self.optim.warm_up

    def _first_rotations(self, scene: Scene) -> dict[str, Tensor]:
        """The column of rotations (N, T, 4): every Gaussian starts with the same ones."""
        h = self.hidden
        if not h.rotate_copies:
            return {}
        source = generator(self.seed, "rotations of the copies")
        first = drawn_rotations(h.n_rotations, source, whole_turn=not h.reference_draw)
        return {"rotations": first.repeat(len(scene.points.xyz), 1, 1)}

    def _build_networks(self, scene: Scene) -> None:
        h = self.hidden
        noise = self.optim.code_noise
        self.code = ConditionCode(
            scene.train, _inputs(h), h.code_width, noise=noise, seed=self.seed
        )
        self.deform = PositionalMLP(
            octaves=h.deform_octaves, code_width=h.code_width,
            width=h.deform_width, depth=h.deform_depth,
            heads={"means": 3, "quats": 4, "log_scales": 3},
        )  # fmt: skip
        self.planes = TriPlane(
            resolution=h.plane_resolution, channels=h.plane_channels, n_copies=h.n_rotations,
            last_group_only=h.reference_channels,
        )  # fmt: skip
        self.decoder = AppearanceDecoder(
            h.plane_channels, h.decoder_width, self.sh_degree, linear_color=h.reference_color
        )

    def _moved(self, frame: Frame) -> dict[str, Tensor]:
        """The table's columns as the frame's expression has them."""
        columns = dict(self.table.columns)
        if not self.deforms:
            return columns
        offsets = self.deform(self._in_box(columns["means"]), self.code(frame))
        columns["means"] = columns["means"] + self.unit * offsets["means"]
        columns["quats"] = nn.functional.normalize(columns["quats"], dim=-1) + offsets["quats"]
        if self.hidden.reference_scales:
            scales = columns["log_scales"].exp() + self.unit * offsets["log_scales"]
            columns["log_scales"] = scales.clamp(min=TINY).log()
        else:
            columns["log_scales"] = columns["log_scales"] + offsets["log_scales"]
        return columns

    def _decoded(self, columns: dict[str, Tensor], eye: Tensor) -> dict[str, Tensor]:
        """The columns with opacity and colour as they are at their place, seen from `eye` (3,)."""
        features = self.planes(self._copies(self._in_box(columns["means"])))
        # From where the Gaussian rests: a move changes its look through the planes alone.
        directions = nn.functional.normalize(self.table.columns["means"] - eye, dim=1)
        return columns | self.decoder(features, directions)

    def _copies(self, points: Tensor) -> Tensor:
        """Points (N, 3) in the box to the places (N, T, 3) where they read the planes."""
        h = self.hidden
        if not h.rotate_copies:
            return points[:, None].expand(-1, h.n_rotations, -1)
        quats = self.table.columns["rotations"]
        if not (h.reference_contraction or h.reference_matrix):
            return rotated(points, quats)
        matrices = unscaled_matrices(quats) if h.reference_matrix else quats_to_matrices(quats)
        if h.reference_contraction:
            return column_scaled(points, matrices)
        return (matrices @ points[:, None, :, None])[..., 0]

    def _in_box(self, means: Tensor) -> Tensor:
        """World units to the unit of the planes: the first points lie in [-1, 1]^3."""
        return (means - self.center) / self.unit

    def _groups(self) -> list[ParamGroup]:
        o = self.optim
        groups = o.table_groups(self.table, self.extent, o.iterations)
        mlp = self._falling(o.deform_lr_init, o.deform_lr_final, o.deform_lr_max_steps)
        planes = self._falling(o.triplane_lr, o.triplane_lr_final, o.triplane_lr_max_step)
        color = constant(o.feature_lr)
        groups += [
            ParamGroup("deformation", self.deform.parameters, mlp),
            ParamGroup("code", self.code.parameters, mlp),
            ParamGroup("planes", self.planes.parameters, planes),
            ParamGroup("opacity", self.decoder.opacity.parameters, constant(o.opacity_lr)),
            ParamGroup("shared", self.decoder.shared.parameters, constant(o.geometry_lr)),
            ParamGroup("geometry", self.decoder.geometry.parameters, constant(o.geometry_lr)),
            ParamGroup("color", self.decoder.color.parameters, color),
            ParamGroup("sh_dc", self.decoder.dc.parameters, color),
            ParamGroup(
                "sh_rest", self.decoder.rest.parameters, constant(o.feature_lr / FEATURE_REST)
            ),
        ]
        if self.hidden.rotate_copies:
            groups.append(self._rotation_group())
        return o.cooled(groups, o.iterations)

    def _rotation_group(self) -> ParamGroup:
        o = self.optim
        falling = self._falling(o.quater_lr_init, o.quater_lr_final, o.quater_lr_max_step)
        return ParamGroup(
            "rotations",
            lambda: [self.table.columns["rotations"]],
            constant(o.quater_lr_init) if o.reference_rate else falling,
            manifold=None if o.reference_adam else "sphere",
            keeps_moments=not o.reference_moments,
        )

    def _falling(self, start: float, end: float, steps: int) -> Schedule:
        return log_linear(start, end, steps or self.optim.iterations)

    @property
    def max_rows(self) -> int:
        return max(self.optim.max_gaussians, len(self.table))

    @property
    def working_bytes_per_row(self) -> int:
        # Activations of the decoders and of the ends of the MLP's two halves, which alone it keeps,
        # with their gradients; the copies; the row posed, activated, drawn, and their gradients.
        h = self.hidden
        encoded = 3 + 6 * h.deform_octaves
        mlp = 2 * (2 * encoded + 3 * h.deform_width)
        decoders = 2 * (4 * h.plane_channels + 5 * h.decoder_width + 4 * 48)
        columns = sum(column[0].numel() for column in self.table.columns.values())
        drawn = 1 + 3 * (self.sh_degree + 1) ** 2
        return 4 * (mlp + decoders + 30 * h.n_rotations + 5 * (columns + drawn))


def _inputs(hidden: ModelHiddenParams) -> tuple[str, ...]:
    """Fields of `Frame` that move the Gaussians."""
    return ("flame_pose", "expression") if hidden.flame_pose_input else ("expression",)
