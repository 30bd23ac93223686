"""Where a scene lies in its dataset's world, so that everything is computed near the origin and in
units of a usual size: float32, clipping planes and learning rates know no other scenes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from arguments.settings import ModelParams
from scene.cameras import Camera
from scene.paths import poses

USUAL = (0.05, 50.0)  # median distance from the cameras to the points, of scenes that stay in place
TYPICAL = 4.0  # the same of D-NeRF's rig, for which the published rates were found
FAR = 1e3  # sizes of the scene from the origin, beyond which float32 shows in the pixels


@dataclass(frozen=True)
class World:
    """A place (3,) of the dataset's world that is the scene's origin, and the dataset's units in
    one of the scene's: theirs = origin + unit * ours."""

    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    unit: float = 1.0

    @classmethod
    def around(cls, cameras: list[Camera], points: Tensor, *, moves: bool, grows: bool) -> World:
        """The world for a scene as its files have it; a usual one stays as it is.

        `points` (P, 3). `moves`: its origin means nothing; `grows`: its unit means nothing. Both
        are round numbers, so that nothing is lost by them.
        """
        centers, middle = poses(cameras)[:, :3, 3].double(), points.double().median(0).values
        size = float((centers - middle).norm(dim=1).median())
        if not 0 < size < float("inf"):
            return cls()
        place = centers.mean(0)
        reach = max(size, float((centers - place).norm(dim=1).max()))
        step = 10.0 ** (len(f"{10 * reach:.0f}"))
        origin = torch.zeros(3)
        if moves and float(place.norm()) > FAR * reach:
            origin = (place / step).round() * step
        usual = not grows or USUAL[0] <= size <= USUAL[1]
        return cls(tuple(origin.tolist()), 1.0 if usual else float(f"{size / TYPICAL:.0e}"))

    def own(self, xyz: Tensor) -> Tensor:
        """Places (..., 3) of the dataset as the scene has them, float64."""
        return (xyz.double() - xyz.new_tensor(self.origin, dtype=torch.float64)) / self.unit

    def theirs(self, xyz: Tensor) -> Tensor:
        """Places (..., 3) of the scene as the dataset has them, float64."""
        return self.unit * xyz.double() + xyz.new_tensor(self.origin, dtype=torch.float64)

    def within(self, other: World) -> World:
        """This world as the scenes of the other one have it: what `seen` and `held` need to bring
        them here."""
        origin = other.own(torch.tensor(self.origin, dtype=torch.float64))
        return World(tuple(origin.tolist()), self.unit / other.unit)

    def held(self, c2w: Tensor) -> Tensor:
        """(3 or 4, 4) from a camera to the dataset's world, as it is to the scene's."""
        if self == AS_IT_IS:
            return c2w
        c2w = c2w.double().clone()
        c2w[:3, 3] = self.own(c2w[:3, 3])
        return c2w

    def seen(self, w2c: Tensor) -> Tensor:
        """(3 or 4, 4) from the dataset's world to a camera or its pixels, as it is from the
        scene's."""
        if self == AS_IT_IS:
            return w2c
        w2c = w2c.double().clone()
        w2c[:3, 3] = (w2c[:3] @ w2c.new_tensor([*self.origin, 1.0])) / self.unit
        return w2c


AS_IT_IS = World()


@dataclass(frozen=True)
class Placed(ModelParams):
    """What a reader is told: how the scene is read whatever its family, and where it lies."""

    world: World = AS_IT_IS
