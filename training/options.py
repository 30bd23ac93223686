"""Settings that methods share, with what they stand for: a method's `OptimizationParams` inherits the
groups it uses, so that a name means the same in every method."""

from __future__ import annotations

from dataclasses import dataclass, replace

from arguments.settings import at_least, between, setting
from scene.gaussian_model import GaussianTable
from training.optimizers import ParamGroup
from training.schedules import Schedule, constant, cooldown, log_linear
from training.strategies import DensifySettings, GradientDensify

FEATURE_REST = 20  # SH above degree 0 learn slower by this factor (3DGS)


@dataclass(frozen=True)
class GeometryRates:
    """Learning rates of the columns that every table has: means, log_scales, quats."""

    position_lr_init: float = setting(
        1.6e-4, "of the positions, times the scene extent, as are all rates named init and final"
    )
    position_lr_final: float = setting(1.6e-6, "of the positions after position_lr_max_steps")
    position_lr_max_steps: int = setting(
        20_000, "length of the exponential schedules; 0 is the length of the stage", valid=at_least(0)
    )
    scaling_lr: float = setting(5e-3, "of the log-scales")
    rotation_lr: float = setting(1e-3, "of the quaternions")
    cooldown: float = setting(
        0.0, "last part of the last stage in which all rates fall to a tenth: 0.3 is the last 30 %",
        valid=between(0, 1),
    )

    def falling(self, start: float, end: float, extent: float, iterations: int) -> Schedule:
        """An exponential schedule of rates in scene extents, in a stage of `iterations` steps."""
        steps = self.position_lr_max_steps or iterations
        return log_linear(start * extent, end * extent, steps)

    def cooled(self, groups: list[ParamGroup], iterations: int) -> list[ParamGroup]:
        """The groups with rates that fall as `cooldown` says in a stage of `iterations` steps."""
        fall = cooldown(iterations, self.cooldown)
        return [replace(g, lr=lambda step, g=g: g.lr(step) * fall(step)) for g in groups]

    def column_rates(self, extent: float, iterations: int) -> dict[str, Schedule]:
        """The schedule of each column."""
        return {
            "means": self.falling(self.position_lr_init, self.position_lr_final, extent, iterations),
            "log_scales": constant(self.scaling_lr),
            "quats": constant(self.rotation_lr),
        }

    def table_groups(self, table: GaussianTable, extent: float, iterations: int) -> list[ParamGroup]:
        """A group per column that has a schedule, under the column's name."""
        columns, rates = table.columns, self.column_rates(extent, iterations)
        return [
            ParamGroup(name, lambda name=name: [columns[name]], lr, by_row=True)
            for name, lr in rates.items()
        ]


@dataclass(frozen=True)
class TableRates(GeometryRates):
    """Learning rates of the columns of `GaussianTable.from_points`."""

    feature_lr: float = setting(2.5e-3, "of SH of degree 0; the rest learns at a twentieth")
    opacity_lr: float = setting(0.05, "of the opacity logits")
    sparse_adam: bool = setting(
        False, "leave rows that no view of the step drew as they are, moments included"
    )

    def column_rates(self, extent: float, iterations: int) -> dict[str, Schedule]:
        return {
            **super().column_rates(extent, iterations),
            "sh_dc": constant(self.feature_lr),
            "sh_rest": constant(self.feature_lr / FEATURE_REST),
            "opacity_logits": constant(self.opacity_lr),
        }


@dataclass(frozen=True)
class PhotometricWeights:
    """Weights of the losses on pictures, beside L1."""

    lambda_l2: float = setting(0.0, "weight of L2 beside L1", valid=at_least(0))
    lambda_dssim: float = setting(0.0, "weight of 1 - SSIM beside L1", valid=at_least(0))
    lambda_lpips: float = setting(0.0, "weight of LPIPS beside L1", valid=at_least(0))
    lambda_regions: float = setting(
        0.0, "weight of L1 in the dataset's regions, such as the mouth", valid=at_least(0)
    )
    lambda_alpha: float = setting(
        0.0, "weight of L1 between drawn and given coverage; for pictures with an alpha channel",
        valid=at_least(0),
    )


@dataclass(frozen=True)
class ConditionNoise:
    """Noise on what conditions the deformation."""

    code_noise: float = setting(
        0.0,
        "spread of the noise on expression and pose while training, in their own standard deviations; "
        "keeps a short video's coincidences from being learned",
        valid=at_least(0),
    )


@dataclass(frozen=True)
class Densification:
    """Adaptive density control, as `GradientDensify` does it."""

    percent_dense: float = setting(
        0.01, "of the scene extent: smaller Gaussians are cloned, larger ones split"
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
        "last step of densification, pruning and opacity reset; 0 is half of the last stage, "
        "so that what is born last still has time to converge",
        valid=at_least(0),
    )
    pruning_from_iter: int = setting(500, "first step of pruning")
    pruning_interval: int = setting(100, "steps between prunings", valid=at_least(1))
    max_gaussians: int = setting(360_000, "densification stops here", valid=at_least(1))

    def densify(
        self,
        iterations: int,
        *,
        until: int,
        pull: Schedule,
        opaque: Schedule,
        patience: int,
        extent: float,
        seed: int,
        opacity: str = "stored",
    ) -> GradientDensify:
        """The strategy of a stage of `iterations` steps that grows until step `until`; the other
        arguments are as in `DensifySettings`."""
        return GradientDensify(
            DensifySettings(
                grad_threshold=pull,
                opacity_threshold=opaque,
                densify_from=self.densify_from_iter,
                densify_until=until,
                densify_interval=self.densification_interval,
                prune_from=self.pruning_from_iter,
                prune_interval=self.pruning_interval,
                reset_interval=self.opacity_reset_interval,
                # A reset needs as long again to heal; the reference also resets on the last step.
                last_reset=min(until, iterations - self.opacity_reset_interval // 2),
                percent_dense=self.percent_dense,
                max_gaussians=self.max_gaussians,
                patience=patience,
                extent=extent,
                seed=seed,
                opacity=opacity,
            )
        )
