"""The visual hull of a moment's silhouettes (Laurentini, "The Visual Hull Concept for
Silhouette-Based Image Understanding", PAMI 1994): what of a box all of them show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, max_pool3d

from scene.cameras import Camera
from scene.frames import Frame

SIDE = 112  # voxels
HALF = 0.35  # half the box about the origin, in distances of the first camera


@dataclass(frozen=True)
class Hull:
    """Voxels of a box about the origin."""

    inside: Tensor  # (1, 1, Z, Y, X) 1 or 0
    half: float  # side of the box over 2, world units

    @property
    def side(self) -> int:
        """Voxels along a side of the box."""
        return self.inside.shape[-1]

    @property
    def voxel(self) -> float:
        """Side of a voxel, world units."""
        return 2 * self.half / self.side

    def at(self, points: Tensor) -> Tensor:
        """(...,) whether points (..., 3) are inside."""
        places = (points / self.half).reshape(1, -1, 1, 1, 3)
        found = grid_sample(self.inside, places, align_corners=False)
        return found.reshape(points.shape[:-1]) > 0.5

    def shell(self) -> Tensor:
        """(N, 3) the middles of the voxels that have one beside them that is outside."""
        outside = max_pool3d(1 - self.inside, 3, stride=1, padding=1)
        return _middles((self.inside * outside).reshape(-1).nonzero()[:, 0], self.half, self.side)


def carve(frames: Sequence[Frame], side: int = SIDE) -> Hull:
    """What all silhouettes of loaded frames of one moment see."""
    like = frames[0].alpha
    half = HALF * float(frames[0].camera.center.norm())
    left = torch.arange(side**3, device=like.device)
    for frame in frames:
        points = _middles(left, half, side)
        left = left[look_up(frame.alpha, frame.camera, points)[0] > 0.5]
    inside = torch.zeros(side**3, device=like.device)
    inside[left] = 1.0
    return Hull(inside.reshape(1, 1, side, side, side), half)


def _middles(voxels: Tensor, half: float, side: int) -> Tensor:
    """(N, 3) of voxels (N,) counted along x, then y, then z."""
    z, y, x = voxels // side**2, voxels // side % side, voxels % side
    return (torch.stack([x, y, z], 1) + 0.5) * (2 * half / side) - half


def look_up(picture: Tensor, camera: Camera, points: Tensor) -> Tensor:
    """(C, N) the picture (C, H, W) where points (N, 3) are seen; 0 outside."""
    pixels = camera.project(points)[0]
    places = 2 * pixels / pixels.new_tensor([camera.width, camera.height]) - 1
    return grid_sample(picture[None], places[None, :, None], align_corners=False)[0, :, :, 0]
