"""A method that nobody wants, of every kind that the seams must carry: `tests/methods.py` holds it
to the same promises as the others.

Stage "points" moves a few points over windows of three moments, without Gaussians and without a
picture; stage "gaussians" hangs Gaussians on them. Its table has no means, but an index of the
point each row hangs on; it has births of its own, and sees a pair per step: a frame, at a size that
depends on the step, and a view from elsewhere without a picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from arguments.settings import count, weight
from scene.frames import Frame
from scene.gaussian_model import Gaussians, GaussianTable, activate
from scene.methods import MethodBase
from training.births import Births, opaque_enough, smaller_than
from training.losses import over_views
from training.optimizers import ParamGroup
from training.options import CommonOptions, TableRates
from training.samplers import Shuffled
from training.schedules import constant
from training.stage import Loss, Stage
from training.strategies import DensifySettings, Every, GradientDensify, Keep, hardest

N_POINTS = 8


@dataclass(frozen=True)
class ModelHiddenParams:
    """Rows that hang on points."""

    reach: float = weight(0.5, "how far they may hang, world units")
    rows_per_point: int = count(20, "at first")


@dataclass(frozen=True)
class OptimizationParams(TableRates, CommonOptions):
    """Two stages."""

    iterations: int = weight(60, "steps of the Gaussians")
    coarse_iterations: int = weight(30, "steps of the points")
    full_size_from: int = count(20, "step from which pictures have their whole size")
    share: float = weight(0.1, "of the rows that are densified at a time")


@dataclass(frozen=True)
class Windows:
    """Three neighbouring moments per step."""

    views: int = 3

    def __call__(
        self, frames: list[Frame], stage: str, seed: int, start: int
    ) -> Iterator[list[Frame]]:
        ordered = sorted(frames, key=lambda frame: frame.time)
        for (k,) in Shuffled()(list(range(1, len(ordered) - 1)), stage, seed, start):
            yield ordered[k - 1 : k + 2]


@dataclass(frozen=True)
class Pairs:
    """A frame, small at first, and the same moment from the camera of another, without a
    picture."""

    full_size_from: int
    views: int = 2

    def __call__(
        self, frames: list[Frame], stage: str, seed: int, start: int
    ) -> Iterator[list[Frame]]:
        batches = Shuffled(2)(frames, stage, seed, start)
        for step, (frame, other) in enumerate(batches, start=start + 1):
            camera = frame.camera
            if step < self.full_size_from:
                camera = camera.resized(camera.width // 2, camera.height // 2)
            elsewhere = replace(
                frame, camera=other.camera, image_path=None, role="orbit", background=torch.zeros(3)
            )
            yield [replace(frame, camera=camera), elsewhere]


def jittered(rows: dict[str, Tensor], source: torch.Generator) -> dict[str, Tensor]:
    """Copies that hang a little elsewhere from the same point."""
    noise = 0.02 * torch.randn(rows["offsets"].shape, generator=source).to(rows["offsets"])
    return {**rows, "offsets": rows["offsets"] + noise}


def halved(rows: dict[str, Tensor], source: torch.Generator) -> dict[str, Tensor]:
    twice = {name: torch.cat([value, value]) for name, value in rows.items()}
    return jittered({**twice, "log_scales": twice["log_scales"] - 0.7}, source)


class Method(MethodBase):
    """Points that move in straight lines, and Gaussians that hang on them."""

    def __init__(self, facts, settings, points):
        super().__init__(facts, settings)
        low, high = facts.box
        corners = torch.cartesian_prod(*torch.stack([low, high], 1)) / 2 + facts.middle / 2
        self.places = nn.Parameter(corners.contiguous())  # (P, 3) at time 0
        self.speeds = nn.Parameter(torch.zeros(N_POINTS, 3))  # (P, 3) units per clip
        columns = GaussianTable.from_points(type(points).empty(), self.sh_degree).columns
        columns = {k: v.detach() for k, v in columns.items() if k != "means"}
        fixed = {"anchor": torch.zeros(0, dtype=torch.int64)}
        self.table = GaussianTable({"offsets": torch.zeros(0, 3), **columns}, fixed)

    def forward(self, frame: Frame) -> Gaussians:
        columns, reach = dict(self.table.columns), self.hidden.reach
        at = (self.places + frame.time * self.speeds)[self.table.fixed.anchor]
        columns["means"] = at + reach * torch.tanh(columns.pop("offsets") / reach)
        return activate(columns, self.drawn_sh_degree)

    def exported(self) -> Gaussians:
        return replace(self(self.facts.shown[0]), sh=activate_sh(self.table))

    def hang(self) -> None:
        """Rows about every point."""
        n = N_POINTS * self.hidden.rows_per_point
        self.table.allocate(n)
        source = torch.Generator().manual_seed(self.seed)
        anchor = torch.arange(n) % N_POINTS
        with torch.no_grad():
            self.table.columns["offsets"].copy_(0.2 * torch.randn(n, 3, generator=source))
            self.table.columns["quats"][:, 0] = 1
            self.table.columns["log_scales"].fill_(-2.5)
            self.table.columns["opacity_logits"].fill_(-1.0)
            self.table.fixed.anchor.copy_(anchor)

    def stages(self) -> list[Stage]:
        o, extent = self.optim, self.facts.extent
        motion = ParamGroup("motion", lambda: [self.places, self.speeds], constant(0.02))
        rates = o.column_rates(extent, o.iterations) | {"offsets": constant(0.01)}
        columns = self.table.columns
        groups = [
            ParamGroup(name, lambda name=name: [columns[name]], rates[name]) for name in columns
        ]
        elsewhere = over_views(
            lambda render, frame: render.alpha.mean(), of=lambda frame: frame.role == "orbit"
        )
        grow = Every(o.densification_interval, o.densify_from_iter, o.iterations // 2)
        strategy = GradientDensify(
            DensifySettings(
                grow=grow,
                prune=replace(grow, interval=o.pruning_interval),
                choose=hardest(o.share),
                rules=[opaque_enough(constant(0.01))],
                births=Births(smaller_than(0.05), jittered, halved),
                max_gaussians=o.max_gaussians,
                seed=self.seed,
            )
        )
        return [
            Stage(
                "points",
                o.coarse_iterations,
                None,
                [motion],
                [Loss("silhouette", constant(1.0), self._off_centre)],
                Keep(),
                Windows(),
            ),
            Stage(
                "gaussians",
                o.iterations,
                self.forward,
                groups,
                [*o.pictures(1.0), Loss("elsewhere", constant(0.01), elsewhere)],
                strategy,
                Pairs(o.full_size_from),
                begin=self.hang,
            ),
        ]

    def _off_centre(self, renders: list, frames: list[Frame], step: int) -> Tensor:
        """How far the mean of the points lies from the middle of the silhouette, in picture
        widths."""
        assert not renders
        found = []
        for frame in frames:
            camera, mass = frame.camera, frame.alpha[0] + 1e-6
            at = (self.places + frame.time * self.speeds).mean(0)
            seen = camera.K @ (camera.viewmat[:3, :3] @ at + camera.viewmat[:3, 3])
            x = (mass.sum(0) * torch.arange(camera.width)).sum() / mass.sum()
            y = (mass.sum(1) * torch.arange(camera.height)).sum() / mass.sum()
            found.append((seen[:2] / seen[2] - torch.stack([x, y])).norm() / camera.width)
        return torch.stack(found).mean() + 1e-3 * self.speeds.square().mean()


def activate_sh(table: GaussianTable) -> Tensor:
    return torch.cat([table.columns["sh_dc"], table.columns["sh_rest"]], dim=1)
