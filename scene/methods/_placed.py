"""What a method needs whose Gaussians live in a low-rank moving cloud: the cloud, its settings, and
the stage that places it before there is any Gaussian (Neural Parametric Gaussians, Das et al.,
CVPR 2024, section 3.1).

Silhouettes, flow and rigidity place it, as published. They say nothing of what a moment's single
camera cannot see, so two things are added: points are drawn in colours of their own and compared
with blurred pictures, and they move as little and as evenly as the pictures allow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from arguments.settings import Settings, at_least, between, count, setting, weight
from scene.deformation.point_basis import PointBasis
from scene.deformation.volumes import neighbourhoods
from scene.facts import SceneFacts
from scene.frames import Frame
from scene.gaussian_model import Gaussians
from scene.methods import MethodBase
from training import point_losses
from training.optimizers import ParamGroup
from training.samplers import Windows
from training.schedules import constant, warm_cosine
from training.stage import Loss, Stage
from training.strategies import Keep
from utils.random import generator, uniform

if TYPE_CHECKING:
    from gaussian_renderer import Render

NEAREST_SHARE = 0.02  # of the cloud's unit: what is nearer to a camera is divided by this
NEIGHBOURS_EVERY = 50  # steps after which it is asked anew who is whose neighbour
MOMENTS = torch.linspace(0, 1, 16).tolist()  # that say who is near whom
LAST_RATE = 0.05  # of this stage's rates at its end, as a factor (published)
APART = 0.03  # of the clip: between moments that say how fast a point is, and how evenly it moves
LIKENESS = {"log_scales": 0.03, "opacity_logits": 0.03, "rgb": 0.02}  # columns and their rates
WIDE, FAINT = 1.0, 0.3  # of a point that is drawn: ways to a neighbour; opacity at first


@dataclass(frozen=True)
class CloudParams:
    """The coarse cloud."""

    n_points: int = count(1_500, "points of the coarse cloud")
    n_shapes: int = count(25, "learned clouds, of which each moment is a combination")
    octaves: int = setting(6, "octaves of the time's encoding", valid=between(0, 64))
    net_width: int = count(256, "width of the network from the time to coefficients")
    net_depth: int = setting(3, "its residual blocks", valid=at_least(0))
    time_scale: float = setting(1.0, "the clip's length as this network is told it")
    published_start: bool = setting(
        False,
        "shapes are noise and weights tiny, so that all points start in one place; otherwise in a "
        "ball, moved as a whole, linearly and in waves",
    )


@dataclass(frozen=True)
class PlacingOptions:
    """The stage that places the cloud."""

    coarse_iterations: int = weight(600, "steps of the coarse cloud before the Gaussians'")
    window: int = setting(10, "moments in a row that a coarse step sees", valid=at_least(2))
    coarse_side: int = count(200, "longest side of the pictures it sees, pixels")
    coarse_lr: float = setting(4e-3, "of the coarse stage, at most")
    coarse_warm_up: float = setting(0.05, "share of it to get there", valid=between(0, 1))
    coarse_still: float = setting(
        0.3,
        "share of it in which the cloud may not move: what a slow camera sees of depth takes the "
        "whole clip",
        valid=between(0, 1),
    )
    rest_time: float = setting(
        0.5, "moment of the clip whose distances are kept and turns are none", valid=between(0, 1)
    )
    lambda_chamfer: float = weight(1_000.0, "of the distance from points to silhouettes and back")
    chamfer_pixels: int = weight(256, "pixels of a silhouette that look for a point; 0 is all")
    lambda_flow: float = weight(10.0, "of the difference to the pictures' optical flow")
    flow_pairs: int = count(3, "of the moments of a window, at random, whose flow a step looks at")
    lambda_colour: float = weight(
        30.0, "of the difference between the points in colours of their own and blurred pictures"
    )
    colour_from: float = setting(
        0.2,
        "share of the stage after which colours move points; before, points only learn them",
        valid=between(0, 1),
    )
    colour_views: int = count(3, "of the pictures of a window, at random, that they are seen in")
    lambda_front: float = weight(100.0, "of points behind a camera")
    lambda_rigid: float = weight(2e-4, "of what stretches between neighbours")
    rigid_views: int = count(5, "of the moments of a window, at random, that are held to the rest")
    k_nn: int = setting(10, "neighbours that are held together, the point among them",
                        valid=at_least(2))  # fmt: skip
    lambda_bend: float = weight(3e-4, "of the acceleration of points, in both stages")
    lambda_rest: float = weight(2e-3, "of their unrest, in both; keeps still what may be still")
    raw_units: bool = setting(
        False,
        "these weights are for pixels and world units, as published; otherwise for picture "
        "diagonals, and distances between neighbours",
    )


@dataclass(frozen=True)
class Seen:
    """The coarse cloud in a step of its stage."""

    step: int
    rest: Tensor  # (N, 3) world units
    clouds: list[Tensor]  # of each frame, the same
    places: list[Tensor]  # (N, 2) their pixels
    depths: list[Tensor]  # (N,)


class Placed(MethodBase):
    """A method with a low-rank moving cloud, and the stage that places it."""

    def __init__(self, facts: SceneFacts, settings: Settings) -> None:
        super().__init__(facts, settings)
        h = self.hidden
        self.unit = float((facts.box[1] - facts.box[0]).amax())
        self.basis = PointBasis(
            h.n_points,
            h.n_shapes,
            octaves=h.octaves,
            width=h.net_width,
            depth=h.net_depth,
            source=generator(self.seed, "point basis"),
            published=h.published_start,
        )
        self.register_buffer("middle", facts.middle.clone(), persistent=False)
        k = min(self.optim.k_nn, h.n_points)
        self.register_buffer("held", torch.zeros(h.n_points, k, dtype=torch.int64))
        self.likeness = nn.ParameterDict(self._likeness())
        self._silhouettes = point_losses.Silhouettes()
        self._latest: Seen | None = None

    @torch.no_grad()
    def _likeness(self) -> dict[str, Tensor]:
        """Columns of the points where they are drawn themselves, at first."""
        n = self.hidden.n_points
        paths = self.clouds(MOMENTS[:1])
        way = point_losses.spacing(paths[0], neighbourhoods(paths, min(4, n)))
        return {
            "log_scales": (WIDE * way).log().expand(n, 1).clone(),
            "opacity_logits": torch.full((n, 1), FAINT).logit(),
            "rgb": torch.full((n, 3), 0.5),
        }

    def clouds(self, times: list[float], basis: PointBasis | None = None) -> Tensor:
        """(T, N, 3) the moving points at these times, world units."""
        return self.middle + self.unit * (basis or self.basis)(self.told(times))

    def told(self, times: list[float]) -> Tensor:
        """(T,) the times as the network is told them; made where the model lives."""
        scale = self.hidden.time_scale
        return torch.stack([self.middle.new_full((), scale * time) for time in times])

    def coloured(self, cloud: Tensor) -> Gaussians:
        """The points (N, 3) themselves, round, in their own colours."""
        of = self.likeness
        return Gaussians(
            means=cloud,
            quats=cloud.new_tensor([1.0, 0, 0, 0]).expand(len(cloud), 4),
            scales=of["log_scales"].exp().expand(-1, 3),
            opacities=of["opacity_logits"].sigmoid(),
            colors=of["rgb"],
        )

    def network(self) -> list[nn.Parameter]:
        return [p for name, p in self.basis.named_parameters() if name != "shapes"]

    def shapes(self) -> list[nn.Parameter]:
        return [self.basis.shapes]

    def placing(self) -> Stage:
        """The stage that places the cloud."""
        o = self.optim
        steps = o.coarse_iterations
        warm = warm_cosine(o.coarse_lr, round(o.coarse_warm_up * steps), steps, LAST_RATE)
        still, rising = round(o.coarse_still * steps), round(o.coarse_warm_up * steps)
        moving = warm_cosine(o.coarse_lr, rising, max(steps - still, 1), LAST_RATE)
        groups = [
            ParamGroup("network", self.network, lambda n: moving(n - still) if n > still else 0.0),
            ParamGroup("shapes", self.shapes, warm),
        ]
        for name, rate in LIKENESS.items() if o.lambda_colour else ():
            column = self.likeness[name]
            groups.append(
                ParamGroup(name, lambda c=column: [c], warm_cosine(rate, 0, steps, LAST_RATE))
            )
        return Stage("coarse", steps, None, groups, self._placed(), Keep(),
                     Windows(o.window, o.coarse_side))  # fmt: skip

    def plain(self) -> list[Loss]:
        """What keeps the ways of points plain, at moments that no picture shows, too."""
        o = self.optim
        return [Loss("plain", constant(1.0), self._plain)] if o.lambda_bend or o.lambda_rest else []

    def _placed(self) -> list[Loss]:
        """What places the cloud."""
        o = self.optim
        terms = {
            "chamfer": (o.lambda_chamfer, self._chamfer),
            "flow": (o.lambda_flow, self._flow),
            "colour": (o.lambda_colour, self._colour),
            "front": (o.lambda_front, self._in_front),
            "rigid": (o.lambda_rigid, self._rigid),
        }
        return [Loss(name, constant(w), fn) for name, (w, fn) in terms.items() if w] + self.plain()

    def _seen(self, frames: list[Frame], step: int) -> Seen:
        """The cloud at rest and at the frames' moments; once a step for all terms."""
        if self._latest is None or self._latest.step != step:
            rest, *clouds = self.clouds([self.optim.rest_time, *(frame.time for frame in frames)])
            nearest = NEAREST_SHARE * self.unit
            views = zip(clouds, frames, strict=True)
            places = [frame.camera.project(cloud, nearest) for cloud, frame in views]
            self._latest = Seen(step, rest, clouds, *map(list, zip(*places, strict=True)))
        return self._latest

    def _chamfer(self, renders: list[Render], frames: list[Frame], step: int) -> Tensor:
        found, o = [], self.optim
        views = zip(frames, self._seen(frames, step).places, strict=True)
        for k, (frame, places) in enumerate(views):
            silhouette, source = self._silhouettes(frame), generator(self.seed, "pixels", step, k)
            if silhouette is not None:
                size = 1.0 if o.raw_units else point_losses.diagonal(frame.camera)
                away = point_losses.chamfer(places, silhouette, source, o.chamfer_pixels)
                found.append(away / size**2)
        return torch.stack(found).mean() if found else self.middle.new_zeros(())

    def _flow(self, renders: list[Render], frames: list[Frame], step: int) -> Tensor:
        seen = self._seen(frames, step)
        known = [k for k, frame in enumerate(frames[:-1]) if frame.flow is not None]
        found = [
            point_losses.flow_consistency(
                frames[k], seen.clouds[k], seen.places[k], seen.places[k + 1]
            )
            for k in self._some(known, self.optim.flow_pairs, "flow", step)
        ]
        return torch.stack(found).mean() if found else self.middle.new_zeros(())

    def _colour(self, renders: list[Render], frames: list[Frame], step: int) -> Tensor:
        o, clouds = self.optim, self._seen(frames, step).clouds
        if step <= o.colour_from * o.coarse_iterations:
            # points of a wrong colour would flee from the camera to be small
            clouds = [cloud.detach() for cloud in clouds]
        some = self._some(range(len(frames)), o.colour_views, "colour", step)
        found = [point_losses.blur(frames[k], self.coloured(clouds[k])) for k in some]
        return torch.stack(found).mean()

    def _some(self, known: list[int] | range, most: int, of: str, step: int) -> list[int]:
        """At most so many of these, by chance."""
        order = torch.randperm(len(known), generator=generator(self.seed, of, step)).tolist()
        return [known[place] for place in order[:most]]

    def _in_front(self, renders: list[Render], frames: list[Frame], step: int) -> Tensor:
        size = 1.0 if self.optim.raw_units else self.unit
        return point_losses.in_front(torch.cat(self._seen(frames, step).depths) / size)

    def _rigid(self, renders: list[Render], frames: list[Frame], step: int) -> Tensor:
        seen = self._seen(frames, step)
        if step % NEIGHBOURS_EVERY == 1:
            with torch.no_grad():
                paths = self.clouds(MOMENTS)
            self.held.copy_(neighbourhoods(paths, self.held.shape[1]))
        unit = 1.0 if self.optim.raw_units else point_losses.spacing(seen.rest, self.held)
        some = self._some(range(len(frames)), self.optim.rigid_views, "rigid", step)
        clouds = torch.stack([seen.clouds[k] for k in some])
        return point_losses.rigidity(seen.rest, clouds, self.held, unit)

    def _plain(self, renders: list[Render], frames: list[Frame], step: int) -> Tensor:
        """The acceleration and the unrest of the points at a moment by chance, from it and two
        beside it."""
        o, where = self.optim, uniform(self.seed, "moment", step)
        time = APART + (1 - 2 * APART) * where
        ways = self.basis(self.told([time - APART, time, time + APART]))  # (3, N, 3)
        bend = point_losses.acceleration(ways, APART)
        return o.lambda_bend * bend + o.lambda_rest * point_losses.unrest(ways, APART)
