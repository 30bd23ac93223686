"""Settings that methods share, with what they stand for: a method's `OptimizationParams` and
`ModelHiddenParams` inherit the groups they use, so that a name means the same in every method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from arguments.settings import at_least, between, count, setting, weight
from scene.deformation.body import COLUMN
from scene.facts import SceneFacts
from scene.frame_codes import FrameCodes
from scene.gaussian_model import GaussianTable
from training.births import Births, not_larger_than, opaque_enough, seen_within, smaller_than
from training.losses import photometric
from training.optimizers import ParamGroup
from training.point_schedule import Refill, refills
from training.schedules import Schedule, constant, cooldown, log_linear
from training.stage import Loss
from training.strategies import DensifySettings, Every, GradientDensify, Strategy, above
from training.thinning import MOST_LOOKS, Thinned

TOO_LARGE = 0.1  # of the scene; such rows are pruned once opacities were reset (3DGS)
SHORTEST_INTERVAL = 10  # steps between refills: fewer views say little about what is never seen
FEATURE_REST = 20  # SH above degree 0 learn slower by this factor (3DGS)


@dataclass(frozen=True)
class GeometryRates:
    """Learning rates of the columns that every table has: means, log_scales, quats."""

    position_lr_init: float = setting(
        1.6e-4, "of the positions, times the scene extent, as are all rates named init and final"
    )
    position_lr_final: float = setting(1.6e-6, "of the positions after position_lr_max_steps")
    position_lr_max_steps: int = setting(
        20_000,
        "length of the exponential schedules; 0 is the length of the stage",
        valid=at_least(0),
    )
    scaling_lr: float = setting(5e-3, "of the log-scales")
    rotation_lr: float = setting(1e-3, "of the quaternions")
    cooldown: float = setting(
        0.0,
        "last part of the last stage in which all rates fall to a tenth: 0.3 is the last 30 %",
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
            "means": self.falling(
                self.position_lr_init, self.position_lr_final, extent, iterations
            ),
            "log_scales": constant(self.scaling_lr),
            "quats": constant(self.rotation_lr),
        }

    def table_groups(
        self, table: GaussianTable, extent: float, iterations: int, apart: Sequence[str] = ()
    ) -> list[ParamGroup]:
        """A group per column under the column's name, but for those that have one of their own.

        Raises ValueError for a column that would never be trained.
        """
        columns, rates = table.columns, self.column_rates(extent, iterations)
        names = [name for name in columns if name not in apart]
        for name in names:
            if name not in rates:
                raise ValueError(
                    f"no learning rate for column {name!r}; there is one for {', '.join(rates)}"
                )
        return [
            ParamGroup(name, lambda name=name: [columns[name]], rates[name], rows="drawn")
            for name in names
        ]


@dataclass(frozen=True)
class MlpSetting:
    """How the perceptrons that move Gaussians multiply."""

    mlp_bf16: bool = setting(
        False,
        "products of the deformation's perceptrons in bfloat16, sums in float32: half their time "
        "on processors with AMX or AVX-512's bf16",
    )


@dataclass(frozen=True)
class BodySetting:
    """Of a method's `ModelHiddenParams`: the body under a talking head."""

    body_part: bool = setting(
        True,
        "the body moves by a linear law of the head's pose, where the camera stands still and the "
        "pictures show more than the head",
    )


@dataclass(frozen=True)
class BodyRates(GeometryRates):
    """Learning rates of that body."""

    body_lr: float = setting(5e-3, "of the law from the head's motion to the body's")
    body_weight_lr: float = setting(1e-3, "of the logits that share rows out to head and body")

    def column_rates(self, extent: float, iterations: int) -> dict[str, Schedule]:
        rates = super().column_rates(extent, iterations)
        return {**rates, COLUMN: constant(self.body_weight_lr)}


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
        0.0,
        "weight of L1 between drawn and given coverage; for pictures with an alpha channel",
        valid=at_least(0),
    )

    def pictures(self, l1: float, l2: float | None = None) -> list[Loss]:
        """The terms on pictures, with this weight of L1, and of L2 in place of `lambda_l2`."""
        l2 = self.lambda_l2 if l2 is None else l2
        others = {
            "dssim": self.lambda_dssim,
            "lpips": self.lambda_lpips,
            "alpha": self.lambda_alpha,
        }
        return photometric(l1=l1, l2=l2, **others)


@dataclass(frozen=True)
class Refinement:
    """What was measured of a moment and is corrected there: settings of a method's networks."""

    refine_expression: bool = setting(False, "learn a correction of every moment's expression")
    refine_flame_pose: bool = setting(False, "learn a correction of every moment's FLAME pose")
    refine_camera: bool = setting(False, "learn a correction of every moment's camera pose")

    def refined(self, names: Sequence[str]) -> list[str]:
        """Those of the fields of `Frame` that are corrected."""
        return [name for name in names if getattr(self, f"refine_{name}")]


@dataclass(frozen=True)
class MomentRates:
    """How the rows of `FrameCodes`, learned per moment, are trained."""

    frame_lr: float = setting(1e-3, "of latents and corrections, the rows learned per moment")
    lambda_frames: float = weight(0.01, "of the mean square of latents and corrections")

    def moment_groups(self, rows: FrameCodes | None, after: int = 0) -> list[ParamGroup]:
        """Their group, whose rows step where a view shows their moment, from step `after` on."""
        if rows is None:
            return []
        rate = lambda step: self.frame_lr * (step > after)  # noqa: E731
        return [ParamGroup("frames", rows.parameters, rate, rows="touched")]

    def moment_losses(self, rows: FrameCodes | None) -> list[Loss]:
        """What keeps them small."""
        if rows is None or not self.lambda_frames:
            return []
        return [
            Loss("frames", constant(self.lambda_frames), lambda _, frames, step: rows.size(frames))
        ]


@dataclass(frozen=True)
class ConditionNoise:
    """Noise on what conditions the deformation."""

    code_noise: float = setting(
        0.0,
        "spread of the noise on expression and pose while training, in their own standard "
        "deviations; keeps a short video's coincidences from being learned",
        valid=at_least(0),
    )


@dataclass(frozen=True)
class Densification:
    """Adaptive density control, as `GradientDensify` does it."""

    percent_dense: float = setting(
        0.01,
        "of the scene extent: smaller Gaussians are cloned, larger ones split",
        valid=at_least(0),
    )
    opacity_reset_interval: int = setting(
        3_000, "steps between resets of all opacities to 0.01", valid=at_least(1)
    )
    densification_interval: int = setting(100, "steps between clone-and-split", valid=at_least(1))
    densify_from_iter: int = setting(500, "first step of densification")
    densify_until_iter: int = setting(
        15_000,
        "last step of densification, pruning and opacity reset; 0 is half of the last stage, "
        "so that what is born last still has time to converge",
        valid=at_least(0),
    )
    pruning_from_iter: int = setting(500, "first step of pruning")
    prune_until_iter: int = setting(
        0, "last step of pruning; 0 is that of densification", valid=at_least(0)
    )
    pruning_interval: int = setting(100, "steps between prunings", valid=at_least(1))
    least_width: float = weight(
        0.0,
        "pixels; rows that no view of a full pass draws wider are pruned, as are those that none "
        "draws; 0: none",
    )
    max_gaussians: int = setting(360_000, "densification stops here", valid=at_least(1))
    thin_share: float = setting(
        0.0,
        "share of the Gaussians dropped after the last densification: those that show least in "
        "the views of the steps that follow; 0: none",
        valid=between(0, 0.95),
    )

    @property
    def densify_until(self) -> int:
        """Last step of densification in a stage of `self.iterations` steps."""
        return self.densify_until_iter or self.iterations // 2

    def densify(
        self,
        facts: SceneFacts,
        iterations: int,
        grad_threshold: Schedule,
        opacity_threshold: Schedule,
        *,
        seed: int,
        size: float | None = None,
        opacity: str = "stored",
        last: bool = True,
    ) -> Strategy:
        """3DGS's strategy in a stage of `iterations` steps, for things of `size` (world units; the
        scene's extent where nothing is said).

        From `grad_threshold` on screen a row is densified, under `opacity_threshold` pruned;
        `opacity` is a name in `OPACITIES`. In the `last` stage that grows, `thin_share` is heeded.
        """
        size = facts.extent if size is None else size
        until = self.densify_until
        # A reset needs as long again to heal; the reference also resets on the last step.
        last_reset = min(until, iterations - self.opacity_reset_interval // 2)
        growing = GradientDensify(
            DensifySettings(
                grow=Every(self.densification_interval, self.densify_from_iter, until),
                prune=Every(
                    self.pruning_interval,
                    self.pruning_from_iter,
                    min(self.prune_until_iter or until, iterations),
                ),
                reset=Every(self.opacity_reset_interval, 0, last_reset),
                choose=above(grad_threshold),
                rules=[
                    opaque_enough(opacity_threshold),
                    seen_within(facts.n_views),
                    not_larger_than(TOO_LARGE * size, after=self.opacity_reset_interval),
                ],
                births=Births(smaller_than(self.percent_dense * size)),
                max_gaussians=self.max_gaussians,
                seed=seed,
                least_width=self.least_width,
                opacity=opacity,
            )
        )
        if not (last and self.thin_share):
            return growing
        # not while opacities that were reset heal, as each then shows by its size alone
        reset = last_reset // self.opacity_reset_interval * self.opacity_reset_interval
        start = max(until, reset + self.opacity_reset_interval // 2 if reset else 0)
        end = min(start + min(facts.n_views, MOST_LOOKS), iterations)
        return Thinned(growing, self.thin_share, Every(1, start, end))


@dataclass(frozen=True)
class PointTable:
    """Points whose number is a table in time, as `PointSchedule` does it. Parts of a run are in
    [0, 1]."""

    refills: int = count(50, "times in a run that unseen rows go and copies take their place")
    refill_until: float = setting(0.8, "part of the run after which rows stay", valid=between(0, 1))
    grow_at: list[float] = setting(
        [0.1, 0.2, 0.3], "parts of the run from which there are more points", valid=between(0, 1)
    )
    grow_to: list[int] = setting(
        [], "how many from each on; none: twice as many, at most max_gaussians", valid=at_least(1)
    )
    prune_opacity: float = setting(0.02, "rows that no view showed more opaque go")

    @property
    def refill_interval(self) -> int:
        """Steps from one refill to the next."""
        return max(self.iterations // self.refills, SHORTEST_INTERVAL)

    def refill_table(self, start: int, most: int) -> list[Refill]:
        """From when on there are how many points, of `start` at first and `most` at last."""
        steps = [part * self.iterations for part in self.grow_at]
        return refills(start, steps, self.grow_to, every=self.refill_interval, most=most)


@dataclass(frozen=True)
class CommonOptions(PhotometricWeights, ConditionNoise, Densification):
    """What every method has whose Gaussians are densified and whose pictures are compared."""
