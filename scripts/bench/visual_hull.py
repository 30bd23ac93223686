"""The visual hull of a moment's silhouettes, drawn in the colours of its pictures (Laurentini, "The
Visual Hull Concept for Silhouette-Based Image Understanding", PAMI 1994): what there is to beat
without learning anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, normalize

from scene.cameras import Camera
from scene.frames import Frame

SIDE = 112  # voxels
HALF = 0.35  # half the box about the origin, in distances of the first camera
SHARP = 8  # power of the cosine that weighs a picture which looks from aside
AWAY = 2.5  # voxels from a point of the surface before anything may hide it


@dataclass(frozen=True)
class Hull:
    """Voxels of a box about the origin."""

    inside: Tensor  # (1, 1, Z, Y, X) 1 or 0
    half: float  # side of the box over 2, world units

    @property
    def step(self) -> float:
        """Half a voxel, world units."""
        return self.half / self.inside.shape[-1]

    def at(self, points: Tensor) -> Tensor:
        """(...,) whether points (..., 3) are inside."""
        places = (points / self.half).reshape(1, -1, 1, 1, 3)
        found = grid_sample(self.inside, places, align_corners=False)
        return found.reshape(points.shape[:-1]) > 0.5


def carve(frames: Sequence[Frame]) -> Hull:
    """What all silhouettes of loaded frames of one moment see."""
    half = HALF * float(frames[0].camera.center.norm())
    axis = (torch.arange(SIDE) + 0.5) * (2 * half / SIDE) - half
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    points = torch.stack([x, y, z], -1).reshape(-1, 3)
    inside = torch.ones(len(points), dtype=torch.bool)
    for frame in frames:
        inside &= look_up(frame.alpha, frame.camera, points)[0] > 0.5
    return Hull(inside.float().reshape(1, 1, SIDE, SIDE, SIDE), half)


def look_up(picture: Tensor, camera: Camera, points: Tensor) -> Tensor:
    """(C, N) the picture (C, H, W) where points (N, 3) are seen; 0 outside."""
    local = points @ camera.viewmat[:3, :3].T + camera.viewmat[:3, 3]
    pixels = local @ camera.K.T
    pixels = pixels[:, :2] / pixels[:, 2:].clamp(min=1e-6)
    places = 2 * pixels / torch.tensor([camera.width, camera.height]) - 1
    return grid_sample(picture[None], places[None, :, None], align_corners=False)[0, :, :, 0]


def surface(hull: Hull, camera: Camera) -> tuple[Tensor, Tensor]:
    """(H, W) whether a pixel sees the hull, and (H, W, 3) the first point of it."""
    v, u = torch.meshgrid(
        torch.arange(camera.height) + 0.5, torch.arange(camera.width) + 0.5, indexing="ij"
    )
    local = torch.stack([u, v, torch.ones_like(u)], -1) @ torch.linalg.inv(camera.K).T
    rays = normalize(local @ camera.viewmat[:3, :3], dim=-1)
    eye, reach = camera.center, 3**0.5 * hull.half
    hit = torch.zeros(u.shape, dtype=torch.bool)
    points = torch.zeros(*u.shape, 3)
    for k in range(int(2 * reach / hull.step)):
        here = eye + rays * (float(eye.norm()) - reach + k * hull.step)
        new = hull.at(here) & ~hit
        points[new], hit = here[new], hit | new
    return hit, points


def is_seen(hull: Hull, points: Tensor, eye: Tensor) -> Tensor:
    """(N,) whether nothing of the hull is between points (N, 3) of its surface and an eye (3,)."""
    rays, hidden = normalize(eye - points, dim=1), torch.zeros(len(points), dtype=torch.bool)
    for k in range(int(2 * hull.half / (2 * hull.step))):
        hidden |= hull.at(points + rays * (2 * hull.step * (AWAY + k)))
    return ~hidden


def draw(hull: Hull, camera: Camera, frames: Sequence[Frame]) -> tuple[Tensor, Tensor]:
    """(3, H, W) the hull in the colours of loaded frames, on white, and (1, H, W) where it is.

    A point has the colours of those that see it, the more the less from aside; of all of them
    where none does. The white at the edge of a silhouette is not taken for a colour.
    """
    hit, points = surface(hull, camera)
    points = points[hit]
    view = normalize(camera.center - points, dim=1)
    weights, colors = [], []
    for frame in frames:
        eye = frame.camera.center
        aside = (view * normalize(eye - points, dim=1)).sum(1).clamp(min=0.1) ** SHARP
        alpha = look_up(frame.alpha, frame.camera, points)
        own = look_up(frame.image - (1 - frame.alpha), frame.camera, points)
        weights.append((1e-3 + alpha[0]) * aside * (1e-4 + is_seen(hull, points, eye).float()))
        colors.append(own / alpha.clamp(min=1e-2))
    weight = torch.stack(weights)
    mixed = (torch.stack(colors) * weight[:, None]).sum(0) / weight.sum(0)
    image = torch.ones(3, *hit.shape)
    image[:, hit] = mixed
    return image, hit[None].float()
