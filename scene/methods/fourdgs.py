"""4DGS (Wu et al., "4D Gaussian Splatting for Real-Time Dynamic Scene Rendering", CVPR 2024), and, when
told to, conditioned on expression and head pose as 4D-Gaussian-Head does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from arguments.settings import about, at_least, setting
from scene import Scene
from scene.deformation.hexplane import HexPlane
from scene.deformation.mlp import OffsetMLP
from scene.frame_codes import ConditionCode, FrameCodes
from scene.frames import Frame
from scene.gaussian_model import Gaussians, GaussianTable, activate
from scene.methods import MethodBase
from training.losses import in_regions, photometric
from training.optimizers import ParamGroup
from training.options import ConditionNoise, Densification, PhotometricWeights, TableRates
from training.schedules import Schedule, constant, linear
from training.stage import Loss, Stage, first_moment, shuffled
from training.strategies import GradientDensify
from utils.rotations import compose

if TYPE_CHECKING:
    from arguments.settings import Settings
    from gaussian_renderer import Render

SH_RAMP = 1000  # steps between one SH degree and the next


@dataclass(frozen=True)
class ModelHiddenParams:
    """The deformation field: six space-time planes and a small MLP."""

    net_width: int = setting(64, "width of the feature MLP and of the heads", valid=at_least(1))
    defor_depth: int = setting(
        1, "layers of the feature MLP; 0 and 1 are both a single Linear", valid=at_least(0)
    )
    plane_tv_weight: float = setting(1e-4, "smoothness of the spatial planes")
    time_smoothness_weight: float = setting(1e-2, "smoothness of the time planes along time")
    l1_time_planes: float = setting(1e-4, "pull of the time planes to 1, the neutral factor")
    kplanes_config: dict = field(
        default_factory=lambda: {
            "grid_dimensions": 2,
            "input_coordinate_dim": 4,
            "output_coordinate_dim": 32,
            "resolution": [64, 64, 64, 25],
        },
        metadata=about("channels and resolution (x, y, z, time) of the coarsest planes"),
    )
    multires: list[int] = field(
        default_factory=lambda: [1, 2, 4, 8],
        metadata=about("spatial resolution of each level, times the coarsest", valid=at_least(1)),
    )
    no_dx: bool = setting(False, "positions do not move")
    no_ds: bool = setting(False, "scales do not change")
    no_dr: bool = setting(False, "rotations do not change")
    no_do: bool = setting(True, "opacities do not change")
    no_dshs: bool = setting(True, "SH coefficients do not change")
    apply_rotation: bool = setting(False, "compose quaternions instead of adding them")
    time_input: bool = setting(True, "the deformation knows the time; an avatar to be driven must not")
    expression_input: bool = setting(False, "the deformation knows the expression coefficients")
    flame_pose_input: bool = setting(False, "the deformation knows the FLAME pose")
    code_width: int = setting(
        30, "numbers that expression and pose are condensed to", valid=at_least(1)
    )
    latent_width: int = setting(
        0, "numbers learned per moment, for what no coefficient says", valid=at_least(0)
    )
    refine_expression: bool = setting(False, "learn a correction of every moment's expression")
    refine_flame_pose: bool = setting(False, "learn a correction of every moment's FLAME pose")
    legacy_time_range: bool = setting(  # parity: 4DGS reads only the later half of a time plane
        False, "read only the later half of every time plane, as the published code does"
    )

    legacy_smoothness: bool = setting(  # parity: 4DGS takes differences along rows alone
        False, "smooth spatial planes along one axis only, as the published code does"
    )

    # Accepted from 4DGS configs and reported.
    without_effect: ClassVar[dict[str, str]] = {
        "flame_dims": "sizes follow from the data; see expression_input, flame_pose_input, code_width",
        "timebase_pe": "sizes of an encoding that no layer reads",
        "posebase_pe": "sizes of an encoding that no layer reads",
        "scale_rotation_pe": "sizes of an encoding that no layer reads",
        "opacity_pe": "sizes of an encoding that no layer reads",
        "timenet_width": "width of a network that is never called",
        "timenet_output": "width of a network that is never called",
        "bounds": "always overwritten by the box of the initial points",
        "no_grid": "crashes the reference",
        "grid_pe": "an experiment of the reference that is not built here",
        "empty_voxel": "an experiment of the reference that is not built here",
        "static_mlp": "an experiment of the reference that is not built here",
    }


@dataclass(frozen=True)
class OptimizationParams(TableRates, PhotometricWeights, ConditionNoise, Densification):
    """Schedules, losses and densification. Iterations are optimiser steps."""

    iterations: int = setting(30_000, "steps of the fine stage", valid=at_least(0))
    coarse_iterations: int = setting(
        3_000, "steps of the static stage before it", valid=at_least(0)
    )
    batch_size: int = setting(1, "views per step", valid=at_least(1))
    zerostamp_init: bool = setting(False, "the coarse stage sees only the first moment's frames")
    deformation_lr_init: float = setting(1.6e-4, "of the MLP")
    deformation_lr_final: float = setting(1.6e-5, "of the MLP after position_lr_max_steps")
    grid_lr_init: float = setting(1.6e-3, "of the planes, whose gradients are sparse")
    grid_lr_final: float = setting(1.6e-4, "of the planes after position_lr_max_steps")
    frame_lr: float = setting(1e-3, "of latents and corrections, the rows learned per moment")
    lambda_l1_coarse: float = setting(
        1.0, "weight of L1 in the coarse stage; alone it fits the median over time, which may be empty",
        valid=at_least(0),
    )
    lambda_l2_coarse: float = setting(
        0.0, "weight of L2 in the coarse stage; alone it fits the mean over time", valid=at_least(0)
    )
    lambda_offsets: float = setting(
        0.0, "weight of the mean length of all moves, in scene extents; keeps still what may be still",
        valid=at_least(0),
    )
    lambda_frames: float = setting(
        0.01, "weight of the mean square of latents and corrections", valid=at_least(0)
    )
    densify_grad_threshold_coarse: float = setting(
        2e-4, "screen-space gradient from which a Gaussian is densified, coarse stage"
    )
    densify_grad_threshold_fine_init: float = setting(2e-4, "the same, first fine step")
    densify_grad_threshold_after: float = setting(2e-4, "the same, step densify_until_iter")
    opacity_threshold_coarse: float = setting(
        0.005, "opacity under which a Gaussian is pruned, coarse stage"
    )
    opacity_threshold_fine_init: float = setting(0.005, "the same, first fine step")
    opacity_threshold_fine_after: float = setting(0.005, "the same, step densify_until_iter")

    without_effect: ClassVar[dict[str, str]] = {
        "dataloader": "frames always stream through the bounded cache",
        "custom_sampler": "frames are always drawn by the stage's own sampler",
        "position_lr_delay_mult": "the delay has zero steps",
        "deformation_lr_delay_mult": "the delay has zero steps",
        "weight_constraint_init": "read by no loss",
        "weight_constraint_after": "read by no loss",
        "weight_decay_iteration": "read by no loss",
        "add_point": "its code path crashes in the reference",
    }


class Method(MethodBase):
    """4DGS: features of six space-time planes move, turn and stretch every Gaussian."""

    @classmethod
    def needs(cls, settings: Settings) -> tuple[str, ...]:
        time = ("time",) if settings.hidden.time_input else ()
        return time + _condition_inputs(settings.hidden)

    def __init__(self, scene: Scene, settings: Settings) -> None:
        super().__init__()
        self.hidden, self.optim = settings.hidden, settings.optim
        self.seed, self.extent, self.n_train = settings.run.seed, scene.extent, len(scene.train)
        self.sh_degree = settings.model.sh_degree
        self.regions, self.pictures = scene.regions, scene.train
        self.background = torch.full((3,), float(settings.model.white_background))
        self.register_buffer("active_sh_degree", torch.zeros((), dtype=torch.int64))
        self.drawn_sh_degree = 0  # the same as a number: to read the buffer would make a GPU wait
        self.table = GaussianTable.from_points(scene.points, self.sh_degree)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.grid = self._planes(scene)
            self.frames, self.condition = self._conditioning(scene)
            self.mlp = self._heads()

    def prepare(self, frame: Frame) -> Frame:
        return frame if self.frames is None else self.frames.refine(frame)

    def forward(self, frame: Frame) -> Gaussians:
        columns = dict(self.table.columns)
        offsets = self.mlp(self.grid(columns["means"], frame.time), self._code(frame))
        if "sh" in offsets:
            sh = offsets.pop("sh").reshape(len(self.table), -1, 3)
            offsets["sh_dc"], offsets["sh_rest"] = sh[:, :1], sh[:, 1:]
        if self.hidden.apply_rotation and "quats" in offsets:
            columns["quats"] = compose(columns["quats"], as_turn(offsets.pop("quats")))
        for name, offset in offsets.items():
            columns[name] = columns[name] + offset
        return activate(columns, self.drawn_sh_degree)

    def canonical(self, frame: Frame) -> Gaussians:
        return activate(self.table.columns, self.drawn_sh_degree)

    def on_step(self, step: int) -> None:
        if self.condition is not None:
            self.condition.step = step
        if step % SH_RAMP == 0:
            self.draw_sh_degree(min(self.drawn_sh_degree + 1, self.sh_degree))

    def draw_sh_degree(self, degree: int) -> None:
        """Draw spherical harmonics up to this degree from now on."""
        self.drawn_sh_degree = degree
        self.active_sh_degree.fill_(degree)

    def load(self, state: dict[str, Tensor]) -> None:
        super().load(state)
        self.drawn_sh_degree = int(self.active_sh_degree)

    def stages(self) -> list[Stage]:
        o = self.optim
        first = first_moment if o.zerostamp_init else shuffled
        coarse, fine = o.coarse_iterations, o.iterations
        shared = {"dssim": o.lambda_dssim, "lpips": o.lambda_lpips, "alpha": o.lambda_alpha}
        static = photometric(l1=o.lambda_l1_coarse, l2=o.lambda_l2_coarse, **shared)
        moving = photometric(l1=1.0, l2=o.lambda_l2, **shared)
        parts = in_regions(o.lambda_regions, self.regions, self.pictures)
        opaque = constant(o.opacity_threshold_coarse)
        pull = constant(o.densify_grad_threshold_coarse)
        return [
            Stage("coarse", coarse, self.canonical, o.table_groups(self.table, self.extent, coarse), static + parts,
                  self._densify(coarse, pull, opaque), lambda step: self.background,
                  batch_size=o.batch_size, sampler=first, only_drawn=o.sparse_adam),
            Stage("fine", fine, self.forward, self._moving_groups(fine),
                  moving + parts + self._plane_losses() + self._offset_losses() + self._frame_losses(),
                  self._densify(fine, *self._fine_thresholds()),
                  lambda step: self.background, batch_size=o.batch_size, only_drawn=o.sparse_adam),
        ]  # fmt: skip

    def _planes(self, scene: Scene) -> HexPlane:
        h = self.hidden
        return HexPlane(
            scene.points.xyz.amin(0),
            scene.points.xyz.amax(0),
            resolution=h.kplanes_config["resolution"],
            channels=h.kplanes_config["output_coordinate_dim"],
            multipliers=h.multires,
            in_time=h.time_input,
            half_time=h.legacy_time_range,
        )

    def _heads(self) -> OffsetMLP:
        h = self.hidden
        heads = {
            "means": 0 if h.no_dx else 3,
            "log_scales": 0 if h.no_ds else 3,
            "quats": 0 if h.no_dr else 4,
            "opacity_logits": 0 if h.no_do else 1,
            "sh": 0 if h.no_dshs else 3 * (self.sh_degree + 1) ** 2,
        }
        heads = {name: size for name, size in heads.items() if size}
        code = (h.code_width if self.condition is not None else 0) + h.latent_width
        return OffsetMLP(self.grid.n_features, h.net_width, h.defor_depth, heads, code)

    def _conditioning(self, scene: Scene) -> tuple[FrameCodes | None, ConditionCode | None]:
        h, inputs = self.hidden, _condition_inputs(self.hidden)
        refined = [name for name in inputs if getattr(h, f"refine_{name}")]
        rows = FrameCodes(scene, refined, h.latent_width) if refined or h.latent_width else None
        if not inputs:
            return rows, None
        noise, seed = self.optim.code_noise, self.seed
        return rows, ConditionCode(scene.train, inputs, h.code_width, noise=noise, seed=seed)

    def _code(self, frame: Frame) -> Tensor | None:
        parts = [] if self.condition is None else [self.condition(frame)]
        if self.hidden.latent_width:
            parts.append(self.frames.latent(frame))
        return torch.cat(parts) if parts else None

    def _moving_groups(self, iterations: int) -> list[ParamGroup]:
        groups = self.optim.table_groups(self.table, self.extent, iterations)
        return self.optim.cooled(groups + self._network_groups(iterations), iterations)

    def _network_groups(self, iterations: int) -> list[ParamGroup]:
        o = self.optim
        mlp = o.falling(o.deformation_lr_init, o.deformation_lr_final, self.extent, iterations)
        grid = o.falling(o.grid_lr_init, o.grid_lr_final, self.extent, iterations)
        groups = [
            ParamGroup("deformation", self.mlp.parameters, mlp),
            ParamGroup("grid", self.grid.parameters, grid),
        ]
        if self.condition is not None:
            groups.append(ParamGroup("code", self.condition.parameters, mlp))
        if self.frames is not None:
            groups.append(ParamGroup("frames", self.frames.parameters, constant(o.frame_lr)))
        return groups

    def _plane_losses(self) -> list[Loss]:
        h = self.hidden
        weights = {
            "plane_smooth": h.plane_tv_weight,
            "time_smooth": h.time_smoothness_weight,
            "time_l1": h.l1_time_planes,
        }
        if not any(weights.values()):
            return []

        def penalty(renders: list[Render], frames: list[Frame]) -> Tensor:
            return self.grid.penalty(**weights, one_way=h.legacy_smoothness)

        return [Loss("planes", constant(1.0), penalty)]

    def _offset_losses(self) -> list[Loss]:
        weight = self.optim.lambda_offsets
        if not weight:
            return []

        def length(renders: list[Render], frames: list[Frame]) -> Tensor:
            still = self.table.columns["means"]
            moves = [(render.gaussians.means - still).norm(dim=1).mean() for render in renders]
            return torch.stack(moves).mean() / self.extent

        return [Loss("offsets", constant(weight), length)]

    def _frame_losses(self) -> list[Loss]:
        weight = self.optim.lambda_frames
        if self.frames is None or not weight:
            return []
        return [Loss("frames", constant(weight), lambda renders, frames: self.frames.size(frames))]

    @property
    def max_rows(self) -> int:
        return max(self.optim.max_gaussians, len(self.table))

    @property
    def working_bytes_per_row(self) -> int:
        # Features and their gradients; the row posed, activated, drawn, and the gradients of these.
        # The MLP runs tile by tile and keeps no activations.
        columns = sum(column[0].numel() for column in self.table.columns.values())
        return 4 * (2 * self.grid.n_features + 5 * columns)

    def _fine_thresholds(self) -> tuple[Schedule, Schedule]:
        o, until = self.optim, self._densify_until
        return (
            linear(o.densify_grad_threshold_fine_init, o.densify_grad_threshold_after, until),
            linear(o.opacity_threshold_fine_init, o.opacity_threshold_fine_after, until),
        )

    @property
    def _densify_until(self) -> int:
        return self.optim.densify_until_iter or self.optim.iterations // 2

    def _densify(self, iterations: int, pull: Schedule, opaque: Schedule) -> GradientDensify:
        return self.optim.densify(
            iterations,
            until=self._densify_until,
            pull=pull,
            opaque=opaque,
            patience=self.n_train,
            extent=self.extent,
            seed=self.seed,
        )


def _condition_inputs(hidden: ModelHiddenParams) -> tuple[str, ...]:
    """Fields of `Frame` that the deformation is conditioned on, in the order of 4D-Gaussian-Head."""
    return tuple(name for name in ("flame_pose", "expression") if getattr(hidden, f"{name}_input"))


def as_turn(offset: Tensor) -> Tensor:
    """(N, 4) head output to a quaternion; zero becomes the identity (1, 0, 0, 0)."""
    return offset + nn.functional.pad(torch.ones_like(offset[:, :1]), (0, 3))
