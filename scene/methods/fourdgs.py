"""4DGS (Wu et al., "4D Gaussian Splatting for Real-Time Dynamic Scene Rendering", CVPR 2024)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from arguments.settings import about, at_least, between, setting
from scene import Scene
from scene.deformation.hexplane import HexPlane
from scene.deformation.mlp import OffsetMLP
from scene.frames import Frame
from scene.gaussian_model import Gaussians, GaussianTable, activate
from scene.methods import MethodBase
from scene.stage import Loss, Stage, first_moment, shuffled
from scene.strategy import DensifySettings, GradientDensify
from utils.losses import photometric
from utils.optimizers import ParamGroup
from utils.rotations import compose
from utils.schedules import Schedule, constant, cooldown, linear, log_linear

if TYPE_CHECKING:
    from arguments.settings import Settings
    from gaussian_renderer import Render

SH_RAMP = 1000  # steps between one SH degree and the next
FEATURE_REST = 20  # SH above degree 0 learn slower by this factor (3DGS)


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
    legacy_time_range: bool = setting(  # parity: 4DGS reads only the later half of a time plane
        False, "read only the later half of every time plane, as the published code does"
    )

    legacy_smoothness: bool = setting(  # parity: 4DGS takes differences along rows alone
        False, "smooth spatial planes along one axis only, as the published code does"
    )

    # Accepted from 4DGS configs and reported.
    without_effect: ClassVar[dict[str, str]] = {
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
class OptimizationParams:
    """Schedules, losses and densification. Iterations are optimiser steps."""

    iterations: int = setting(30_000, "steps of the fine stage", valid=at_least(0))
    coarse_iterations: int = setting(
        3_000, "steps of the static stage before it", valid=at_least(0)
    )
    batch_size: int = setting(1, "views per step", valid=at_least(1))
    zerostamp_init: bool = setting(False, "the coarse stage sees only the first moment's frames")
    position_lr_init: float = setting(
        1.6e-4, "of the positions, times the scene extent, as are all rates named init and final"
    )
    position_lr_final: float = setting(1.6e-6, "of the positions after position_lr_max_steps")
    position_lr_max_steps: int = setting(
        20_000, "length of the exponential schedules; 0 is the length of the stage", valid=at_least(0)
    )
    deformation_lr_init: float = setting(1.6e-4, "of the MLP")
    deformation_lr_final: float = setting(1.6e-5, "of the MLP after position_lr_max_steps")
    grid_lr_init: float = setting(1.6e-3, "of the planes, whose gradients are sparse")
    grid_lr_final: float = setting(1.6e-4, "of the planes after position_lr_max_steps")
    cooldown: float = setting(
        0.0, "last part of the fine stage in which all rates fall to a tenth: 0.3 is the last 30 %",
        valid=between(0, 1),
    )
    feature_lr: float = setting(2.5e-3, "of SH of degree 0; the rest learns at a twentieth")
    opacity_lr: float = setting(0.05, "of the opacity logits")
    scaling_lr: float = setting(5e-3, "of the log-scales")
    rotation_lr: float = setting(1e-3, "of the quaternions")
    percent_dense: float = setting(
        0.01, "of the scene extent: smaller Gaussians are cloned, larger ones split"
    )
    lambda_l1_coarse: float = setting(
        1.0, "weight of L1 in the coarse stage; alone it fits the median over time, which may be empty",
        valid=at_least(0),
    )
    lambda_l2_coarse: float = setting(
        0.0, "weight of L2 in the coarse stage; alone it fits the mean over time", valid=at_least(0)
    )
    lambda_l2: float = setting(0.0, "weight of L2 beside L1 in the fine stage", valid=at_least(0))
    lambda_dssim: float = setting(0.0, "weight of 1 - SSIM beside L1", valid=at_least(0))
    lambda_lpips: float = setting(0.0, "weight of LPIPS beside L1", valid=at_least(0))
    lambda_alpha: float = setting(
        0.0, "weight of L1 between drawn and given coverage; for pictures with an alpha channel",
        valid=at_least(0),
    )
    lambda_offsets: float = setting(
        0.0, "weight of the mean length of all moves, in scene extents; keeps still what may be still",
        valid=at_least(0),
    )
    opacity_reset_interval: int = setting(
        3_000, "steps between resets of all opacities to 0.01", valid=at_least(1)
    )
    densification_interval: int = setting(
        100, "steps between clone-and-split", valid=at_least(1)
    )
    densify_from_iter: int = setting(500, "first step of densification")
    densify_until_iter: int = setting(
        15_000,
        "last step of densification, pruning and opacity reset; 0 is half of the fine stage, "
        "so that what is born last still has time to converge",
        valid=at_least(0),
    )
    densify_grad_threshold_coarse: float = setting(
        2e-4, "screen-space gradient from which a Gaussian is densified, coarse stage"
    )
    densify_grad_threshold_fine_init: float = setting(2e-4, "the same, first fine step")
    densify_grad_threshold_after: float = setting(2e-4, "the same, step densify_until_iter")
    pruning_from_iter: int = setting(500, "first step of pruning")
    pruning_interval: int = setting(100, "steps between prunings", valid=at_least(1))
    opacity_threshold_coarse: float = setting(
        0.005, "opacity under which a Gaussian is pruned, coarse stage"
    )
    opacity_threshold_fine_init: float = setting(0.005, "the same, first fine step")
    opacity_threshold_fine_after: float = setting(0.005, "the same, step densify_until_iter")
    max_gaussians: int = setting(360_000, "densification stops here", valid=at_least(1))

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

    needs = ("time",)

    def __init__(self, scene: Scene, settings: Settings) -> None:
        super().__init__()
        self.hidden, self.optim = settings.hidden, settings.optim
        self.seed, self.extent, self.n_train = settings.run.seed, scene.extent, len(scene.train)
        self.sh_degree = settings.model.sh_degree
        self.background = torch.full((3,), float(settings.model.white_background))
        self.register_buffer("active_sh_degree", torch.zeros((), dtype=torch.int64))
        self.table = GaussianTable.from_points(scene.points, self.sh_degree)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.grid = self._planes(scene)
            self.mlp = self._heads()

    def forward(self, frame: Frame) -> Gaussians:
        columns = dict(self.table.columns)
        offsets = self.mlp(self.grid(columns["means"], frame.time))
        if "sh" in offsets:
            sh = offsets.pop("sh").reshape(len(self.table), -1, 3)
            offsets["sh_dc"], offsets["sh_rest"] = sh[:, :1], sh[:, 1:]
        if self.hidden.apply_rotation and "quats" in offsets:
            columns["quats"] = compose(columns["quats"], as_turn(offsets.pop("quats")))
        for name, offset in offsets.items():
            columns[name] = columns[name] + offset
        return activate(columns, int(self.active_sh_degree))

    def canonical(self, frame: Frame) -> Gaussians:
        return activate(self.table.columns, int(self.active_sh_degree))

    def on_step(self, step: int) -> None:
        if step % SH_RAMP == 0:
            self.active_sh_degree.clamp_(max=self.sh_degree - 1).add_(1)

    def stages(self) -> list[Stage]:
        o = self.optim
        first = first_moment if o.zerostamp_init else shuffled
        coarse, fine = o.coarse_iterations, o.iterations
        shared = {"dssim": o.lambda_dssim, "lpips": o.lambda_lpips, "alpha": o.lambda_alpha}
        static = photometric(l1=o.lambda_l1_coarse, l2=o.lambda_l2_coarse, **shared)
        moving = photometric(l1=1.0, l2=o.lambda_l2, **shared)
        opaque = constant(o.opacity_threshold_coarse)
        pull = constant(o.densify_grad_threshold_coarse)
        return [
            Stage("coarse", coarse, self.canonical, self._table_groups(coarse), static,
                  self._densify(coarse, pull, opaque), lambda step: self.background,
                  batch_size=o.batch_size, sampler=first),
            Stage("fine", fine, self.forward, self._moving_groups(fine),
                  moving + self._plane_losses() + self._offset_losses(), self._densify(fine, *self._fine_thresholds()),
                  lambda step: self.background, batch_size=o.batch_size),
        ]  # fmt: skip

    def _planes(self, scene: Scene) -> HexPlane:
        h = self.hidden
        return HexPlane(
            scene.points.xyz.amin(0),
            scene.points.xyz.amax(0),
            resolution=h.kplanes_config["resolution"],
            channels=h.kplanes_config["output_coordinate_dim"],
            multipliers=h.multires,
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
        return OffsetMLP(self.grid.n_features, h.net_width, h.defor_depth, heads)

    def _table_groups(self, iterations: int) -> list[ParamGroup]:
        o, columns = self.optim, self.table.columns
        steps = o.position_lr_max_steps or iterations
        means = log_linear(o.position_lr_init * self.extent, o.position_lr_final * self.extent, steps)
        rates = {
            "means": means,
            "sh_dc": constant(o.feature_lr),
            "sh_rest": constant(o.feature_lr / FEATURE_REST),
            "opacity_logits": constant(o.opacity_lr),
            "log_scales": constant(o.scaling_lr),
            "quats": constant(o.rotation_lr),
        }
        return [ParamGroup(name, lambda name=name: [columns[name]], lr) for name, lr in rates.items()]

    def _moving_groups(self, iterations: int) -> list[ParamGroup]:
        fall = cooldown(iterations, self.optim.cooldown)
        groups = self._table_groups(iterations) + self._network_groups(iterations)
        return [replace(g, lr=lambda step, g=g: g.lr(step) * fall(step)) for g in groups]

    def _network_groups(self, iterations: int) -> list[ParamGroup]:
        o, e = self.optim, self.extent
        steps = o.position_lr_max_steps or iterations
        mlp = log_linear(o.deformation_lr_init * e, o.deformation_lr_final * e, steps)
        grid = log_linear(o.grid_lr_init * e, o.grid_lr_final * e, steps)
        return [
            ParamGroup("deformation", self.mlp.parameters, mlp),
            ParamGroup("grid", self.grid.parameters, grid),
        ]

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
        o = self.optim
        return GradientDensify(
            DensifySettings(
                grad_threshold=pull,
                opacity_threshold=opaque,
                densify_from=o.densify_from_iter,
                densify_until=self._densify_until,
                densify_interval=o.densification_interval,
                prune_from=o.pruning_from_iter,
                prune_interval=o.pruning_interval,
                reset_interval=o.opacity_reset_interval,
                # A reset needs as long again to heal; the reference also resets on the last step.
                last_reset=min(self._densify_until, iterations - o.opacity_reset_interval // 2),
                percent_dense=o.percent_dense,
                max_gaussians=o.max_gaussians,
                patience=self.n_train,
                extent=self.extent,
                seed=self.seed,
            )
        )


def as_turn(offset: Tensor) -> Tensor:
    """(N, 4) head output to a quaternion; zero becomes the identity (1, 0, 0, 0)."""
    return offset + offset.new_tensor([1.0, 0.0, 0.0, 0.0])
