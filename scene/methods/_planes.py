"""What methods share whose Gaussians are moved by six space-time planes and a small MLP (4DGS):
settings, the planes, how they are trained and kept smooth."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from arguments.settings import between, count, setting, weight
from scene.deformation.hexplane import HexPlane
from training.optimizers import ParamGroup
from training.options import GeometryRates
from training.schedules import Schedule, rising


@dataclass(frozen=True)
class PlaneParams:
    """The deformation field: settings of a method's networks."""

    net_width: int = count(64, "width of the feature MLP and of the heads")
    defor_depth: int = setting(1, "layers of the feature MLP; 0 means 1", valid=between(0, 64))
    plane_tv_weight: float = weight(1e-4, "smoothness of the spatial planes")
    time_smoothness_weight: float = weight(1e-2, "smoothness of the time planes along time")
    l1_time_planes: float = weight(1e-4, "pull of the time planes to 1, the neutral factor")
    kplanes_config: dict = setting(
        {"grid_dimensions": 2, "input_coordinate_dim": 4, "output_coordinate_dim": 32,
         "resolution": [64, 64, 64, 25]},
        "channels and resolution (x, y, z, time) of the coarsest planes",
        valid=between(1, 4_096),
    )  # fmt: skip
    multires: list[int] = setting(
        [1, 2, 4, 8], "spatial resolution of the levels, in coarsest ones", valid=between(1, 256)
    )
    # parity: the published code reads half of a time plane, and takes differences along rows alone
    legacy_time_range: bool = setting(False, "read only the later half of every time plane")
    legacy_smoothness: bool = setting(False, "smooth spatial planes along one axis only")

    def planes(self, low: Tensor, high: Tensor, *, in_time: bool = True) -> HexPlane:
        """Untrained ones over the box from `low` to `high`, (3,) world units."""
        return HexPlane(
            low,
            high,
            resolution=self.kplanes_config["resolution"],
            channels=self.kplanes_config["output_coordinate_dim"],
            multipliers=self.multires,
            in_time=in_time,
            half_time=self.legacy_time_range,
        )

    @property
    def smooth(self) -> bool:
        """Whether anything keeps the planes smooth."""
        return any((self.plane_tv_weight, self.time_smoothness_weight, self.l1_time_planes))

    def pull_smooth(self, grid: HexPlane, weight: float = 1.0) -> Tensor:
        """What keeps them smooth, as `HexPlane.pull_smooth` says: a sum, `weight` times these."""
        return grid.pull_smooth(
            plane_smooth=weight * self.plane_tv_weight,
            time_smooth=weight * self.time_smoothness_weight,
            time_l1=weight * self.l1_time_planes,
            one_way=self.legacy_smoothness,
        )


@dataclass(frozen=True)
class PlaneRates(GeometryRates):
    """Learning rates of that field."""

    deformation_lr_init: float = setting(1.6e-4, "of the MLP")
    deformation_lr_final: float = setting(1.6e-5, "of the MLP after position_lr_max_steps")
    grid_lr_init: float = setting(1.6e-3, "of the planes, whose gradients are sparse")
    grid_lr_final: float = setting(1.6e-4, "of the planes after position_lr_max_steps")
    deformation_warm_up: int = weight(
        0, "steps over which both rise at first; high ones tear apart what was still until then"
    )

    def mlp_rate(self, extent: float, iterations: int) -> Schedule:
        """Of the MLP in a stage of `iterations` steps."""
        rates = self.deformation_lr_init, self.deformation_lr_final
        return rising(self.falling(*rates, extent, iterations), self.deformation_warm_up)

    def plane_groups(
        self, grid: nn.Module, mlp: nn.Module, extent: float, iterations: int
    ) -> list[ParamGroup]:
        """A group of the planes and one of the MLP."""
        rate = self.falling(self.grid_lr_init, self.grid_lr_final, extent, iterations)
        return [
            ParamGroup("deformation", mlp.parameters, self.mlp_rate(extent, iterations)),
            ParamGroup("grid", grid.parameters, rising(rate, self.deformation_warm_up)),
        ]
