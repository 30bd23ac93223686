"""What the silhouettes of a moment say of sides that no picture shows: nothing is outside their
visual hull, and what is inside has the colours of the pictures that see it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, normalize

from gaussian_renderer import Painter, Render
from scene.frames import Frame, FrameLoader
from scene.gaussian_model import Gaussians
from scene.visual_hull import carve, look_up
from training.memory import FLOAT
from training.samplers import Imagined, shrunk

VOXELS = 80  # along a side of the hull's box
SIDE = 160  # pixels of a side of the pictures that carve and colour it, at most
ROUND = 0.6  # width of a surface voxel's Gaussian, voxels; thinner ones let the far side through
SHARP = 4  # power of the cosine that weighs a picture which looks from aside
INSIDE = 0.95  # coverage from which a pixel is inside: beads reach half a pixel too far
DEEP = 2.5  # voxels behind what a picture shows from which a point is hidden there
DOUBT = 0.03  # of a view's side about the hull's outline in which nothing is said
CORE = 0.06  # of a view's side within its outline from which on it is solid
COLOUR = 4  # floats of a point in a picture: its colour and how far that counts


@dataclass(frozen=True)
class Shell:
    """The surface of a moment's hull, in the colours of its F pictures."""

    means: Tensor  # (N, 3) world units
    colors: Tensor  # (F, N, 3)
    weights: Tensor  # (F, N) how far each is to be believed
    eyes: Tensor  # (F, 3) of the pictures
    voxel: float  # world units

    def seen_from(self, eye: Tensor) -> Gaussians:
        """As it looks from a place (3,): pictures from near that direction count most."""
        view = normalize(eye - self.means, dim=1)
        toward = normalize(self.eyes[:, None] - self.means, dim=2)
        weights = self.weights * (view * toward).sum(2).clamp(min=0.1) ** SHARP
        mixed = (self.colors * weights[:, :, None]).sum(0) / weights.sum(0)[:, None]
        return beads(self.means, mixed, self.voxel)


def beads(means: Tensor, colors: Tensor, voxel: float) -> Gaussians:
    """A solid ball of each colour (N, 3) on every point (N, 3), about a voxel wide."""
    n = len(means)
    return Gaussians(
        means,
        means.new_tensor([1.0, 0.0, 0.0, 0.0]).repeat(n, 1),
        means.new_full((n, 3), ROUND * voxel),
        means.new_full((n, 1), 0.99),
        colors=colors,
    )


class HullViews:
    """Compares drawn views of sides that no picture shows with what the hull says of them."""

    def __init__(self, device: torch.device) -> None:
        self.loader = FrameLoader(0, device)
        self.paint = Painter()
        self.known: dict[int, Shell] = {}  # by moment

    @staticmethod
    def bytes(moments: int, pictures: int) -> int:
        """What it keeps, about: twice a side of the box squared are the points of a surface."""
        return moments * 2 * VOXELS**2 * (3 + COLOUR * pictures) * FLOAT

    def __call__(self, view: Render, frame: Imagined) -> Tensor:
        """The mean square of what differs in the view's colours, where the hull says anything.

        Deep within the outline it is solid; near it, hulls of few silhouettes are too fat, so that
        there its colours hold as far as the view covers them; well outside is nothing.
        """
        shell = self.shell(frame.index, frame.moment)
        if not len(shell.means):  # the silhouettes deny each other
            return view.image.new_zeros(())
        with torch.no_grad():
            color, alpha = self.draw(shell, frame)
            inside, solid = alpha > INSIDE, narrowed(alpha, CORE) > INSIDE
            covered = torch.maximum(view.alpha.detach(), solid.float())
            behind = frame.background[:, None, None]
            truth = torch.lerp(behind, color / alpha.clamp(min=1e-3), covered)
            truth = torch.where(inside, truth, behind)
            said = inside | (widened(alpha, DOUBT) <= INSIDE)
        return (said * (view.image - truth).square()).mean()

    def draw(self, shell: Shell, frame: Imagined) -> tuple[Tensor, Tensor]:
        """(3, H, W) the hull on black, and (1, H, W) its coverage."""
        camera = frame.camera
        black = camera.K.new_zeros(3)
        view = self.paint(camera, shell.seen_from(camera.center), black, antialiased=True)
        return view.image, view.alpha

    @torch.no_grad()
    def shell(self, moment: int, frames: tuple[Frame, ...]) -> Shell:
        """Of the frames of a moment that train; computed once, the same in every run."""
        if moment not in self.known:
            white = torch.ones(3, device=self.loader.device)
            self.known[moment] = self._coloured(
                [self.loader.load(shrunk(frame, SIDE), white) for frame in frames]
            )
        return self.known[moment]

    def _coloured(self, frames: list[Frame]) -> Shell:
        """The shell of loaded frames on white, whose edges are not taken for colours."""
        hull = carve(frames, VOXELS)
        means = hull.shell()
        body = beads(means, torch.ones_like(means), hull.voxel)
        colors, weights = [], []
        for frame in frames:
            camera = frame.camera
            depth = self.paint(camera, body, means.new_zeros(3)).depth
            seen = camera.depths(means) < look_up(depth, camera, means)[0] + DEEP * hull.voxel
            alpha = look_up(frame.alpha, camera, means)
            own = look_up(frame.image - (1 - frame.alpha), camera, means)
            colors.append((own / alpha.clamp(min=1e-2)).T)
            weights.append((1e-3 + alpha[0]) * (1e-4 + seen.float()))
        eyes = torch.stack([frame.camera.center for frame in frames])
        return Shell(means, torch.stack(colors), torch.stack(weights), eyes, hull.voxel)


def widened(alpha: Tensor, share: float) -> Tensor:
    """Coverage (1, H, W), each pixel's the greatest within `share` of the view's side."""
    reach = 2 * round(share * alpha.shape[-1]) + 1
    return max_pool2d(alpha[None], reach, stride=1, padding=reach // 2)[0]


def narrowed(alpha: Tensor, share: float) -> Tensor:
    """Coverage (1, H, W), each pixel's the least within `share` of the view's side."""
    return -widened(-alpha, share)
