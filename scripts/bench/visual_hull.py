"""The visual hull of a moment's silhouettes, drawn ray by ray in the colours of its pictures: what
there is to beat without learning anything."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from scene.cameras import Camera
from scene.frames import Frame
from scene.visual_hull import Hull, look_up

SHARP = 8  # power of the cosine that weighs a picture which looks from aside
AWAY = 2.5  # voxels from a point of the surface before anything may hide it


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
    for k in range(int(4 * reach / hull.voxel)):
        here = eye + rays * (float(eye.norm()) - reach + k * hull.voxel / 2)
        new = hull.at(here) & ~hit
        points[new], hit = here[new], hit | new
    return hit, points


def is_seen(hull: Hull, points: Tensor, eye: Tensor) -> Tensor:
    """(N,) whether nothing of the hull is between points (N, 3) of its surface and an eye (3,)."""
    rays, hidden = normalize(eye - points, dim=1), torch.zeros(len(points), dtype=torch.bool)
    for k in range(hull.side):
        hidden |= hull.at(points + rays * (hull.voxel * (AWAY + k)))
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
