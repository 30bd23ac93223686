"""Where a torso starts that one camera saw from the front alone.

How far away its parts are no picture says, and Gaussians at any depth draw it alike: from a camera
a few degrees aside it is torn. So it starts on its own outline blown up: every row of its pixels is
half an ellipse about the neck, as deep as it is wide, but no deeper than a chest.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from scene.cameras import Camera
from scene.frames import Frame, FrameLoader, PointCloud
from scene.parts import NAMES, parts_of
from utils.devices import CPU
from utils.random import generator
from utils.rotations import rigid_inverse

CHEST = 0.09  # metres from the neck's axis to the breastbone
NEAR = 0.04  # metres off the blown-up outline, within which a point may stay


def with_torso(
    points: PointCloud, frame: Frame, mouth: Tensor, neck: Tensor, metre: float, count: int
) -> PointCloud:
    """The points with `count` on the torso that the frame's picture shows, in place of those that
    lie before or behind it by chance; as they are where it shows none.

    Args:
        frame: its world is the head's frame, and its camera stands still.
        mouth: (2, 3) the mouth's box; neck: (3,) the joint, in the world.
        metre: world units.
    """
    loaded = FrameLoader(0, CPU).load(frame, torch.ones(3))
    parts = parts_of(loaded, {"mouth": mouth})
    torso = torch.zeros(1) if parts is None else torch.from_numpy(parts == 1 + NAMES.index("torso"))
    if not torso.any():
        return points
    depth = _depths(torso, frame.camera, neck, CHEST * metre)
    rows, columns = torso.nonzero(as_tuple=True)
    chosen = torch.randint(len(rows), (count,), generator=generator(0, "points on a torso"))
    v, u = rows[chosen], columns[chosen]
    pixels = torch.stack((u + 0.5, v + 0.5, torch.ones(count)))
    rays = torch.linalg.solve(frame.camera.K, pixels).T
    back = rigid_inverse(frame.camera.viewmat)
    xyz = (depth[v, u][:, None] * rays) @ back[:3, :3].T + back[:3, 3]
    kept = ~_strayed(points.xyz, torso, depth, frame.camera, NEAR * metre)
    return replace(
        points,
        xyz=torch.cat((points.xyz[kept], xyz)),
        rgb=torch.cat((points.rgb[kept], loaded.image[:, v, u].T)),
    )


def _depths(torso: Tensor, camera: Camera, neck: Tensor, most: float) -> Tensor:
    """(H, W) how far the blown-up outline is from the camera; it means something on the torso."""
    width = torso.shape[1]
    across = torch.arange(width)
    low = torch.where(torso, across, width).amin(1)
    high = torch.where(torso, across, -1).amax(1) + 1
    half = ((high - low) / 2).clamp(min=0.5)[:, None]
    part = ((across + 0.5 - low[:, None]) / half - 1).clamp(-1, 1)
    axis = camera.depths(neck[None])
    deep = (half * axis / camera.K[0, 0]).clamp(max=most)
    return axis - deep * (1 - part.square()).sqrt()


def _strayed(xyz: Tensor, torso: Tensor, depth: Tensor, camera: Camera, near: float) -> Tensor:
    """(P,) which points are seen on the torso, but lie before or behind it."""
    pixels, depths = camera.project(xyz)
    u, v = pixels.long().unbind(1)
    height, width = torso.shape
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height) & (depths > 0)
    u, v = u.clamp(0, width - 1), v.clamp(0, height - 1)
    return inside & torso[v, u] & ((depths - depth[v, u]).abs() > near)
