"""How fast a thing spins: from what is seen of its surface, taken for that of a ball, at moments
along its way.

What a spline may learn from pictures is a turn that is nearly right already. A thing that turns by
more than its pattern's width between two looks gives nothing to start from. So constant spins are
tried, all of them: the right one is that under which looks agree (photo-consistency, Kutulakos and
Seitz, "A theory of shape by space carving", IJCV 2000, of spins in place of voxels).
"""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, normalize

from scene.cameras import Camera
from utils.rotations import axis_angle_to_matrices

ROWS, COLUMNS = 24, 48  # cells of a ball, by latitude and longitude
N_CELLS = ROWS * COLUMNS
N_SPOTS = 120  # of its surface, whose shades are compared
WITHIN = 0.97  # of the radius, of what is looked at: rims are mixed with what is behind
FACING = 0.35  # cosine towards the camera from which a cell is seen
FULL = 60.0  # pixels of a radius from which a look counts no more for being near
STEP = 3.0  # radians per clip between the spins that are tried first
WINDOWS = (0.12, 8), (0.2, 6), (0.4, 4), (0.7, 3), (1.0, 1)  # shares of the clip, and how many
BEST = 20, 8  # of the spins tried first, and later, that are tried nearby
SPARSE = 10  # of so many spins one says how well looks agree by chance
FEWEST = 4  # looks in a window
AT_ONCE = 100  # spins


def cells(device: torch.device | str = "cpu") -> Tensor:
    """(`N_CELLS`, 3) unit directions of the middles of the cells, row by row."""
    polar = (torch.arange(ROWS, device=device) + 0.5) * (math.pi / ROWS)
    around = (torch.arange(COLUMNS, device=device) + 0.5) * (2 * math.pi / COLUMNS)
    polar, around = torch.meshgrid(polar, around, indexing="ij")
    across = polar.sin()
    places = torch.stack([across * around.cos(), across * around.sin(), polar.cos()], dim=-1)
    return places.flatten(0, 1)


def cell_of(directions: Tensor) -> Tensor:
    """(...) int64 the cells that unit directions (..., 3) lie in."""
    x, y, z = directions.unbind(-1)
    row = (z.clamp(-1, 1).acos() * (ROWS / math.pi)).long().clamp(max=ROWS - 1)
    column = (torch.atan2(y, x) * (COLUMNS / (2 * math.pi))).floor().long() % COLUMNS
    return row * COLUMNS + column


def spots() -> Tensor:
    """(`N_SPOTS`, 3) unit directions, evenly over a ball: along a spiral by the golden angle."""
    k = torch.arange(N_SPOTS) + 0.5
    z = 1 - 2 * k / N_SPOTS
    around, across = math.pi * (1 + math.sqrt(5)) * k, (1 - z * z).sqrt()
    return torch.stack([across * around.cos(), across * around.sin(), z], dim=1)


def look(image: Tensor, camera: Camera, centre: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """What a picture (3, H, W) shows of a ball at `centre` (3,): shades (`N_CELLS`,) of the cells
    of the world's directions, means of red, green and blue, and how well each is seen, 0 to 1."""
    away = cells(image.device)
    places = centre + WITHIN * radius * away
    pixels, depths = camera.project(places)
    facing = (normalize(camera.center.to(places) - places, dim=1) * away).sum(1)
    size = pixels.new_tensor([camera.width, camera.height])
    where = 2 * pixels / size - 1
    seen = (facing > FACING) & (depths > camera.near) & (where.abs() < 1).all(1)
    grey = image.mean(0)[None, None]
    shades = grid_sample(grey, where[None, None], align_corners=False)[0, 0, 0]
    wide = camera.K[0, 0] * radius / (centre - camera.center.to(centre)).norm()
    return shades, seen * facing * (wide / FULL).clamp(max=1)


def spin_of(times: Tensor, shades: Tensor, seen: Tensor, most: float) -> tuple[Tensor, float]:
    """The constant spin, radians per clip about a fixed axis (3,), under which looks at times (V,),
    of shades and weights (V, `N_CELLS`) as `look` gives them, agree best; and by how many standard
    deviations of spins at random looks agree better than under these. None is faster than `most`.

    The clip is looked at in windows, short ones first: within these a spin need be right to a few
    radians per clip only.
    """
    shades = _of_the_surface(shades, seen)
    n = math.floor(most / STEP)
    tried = torch.tensor(list(product(range(-n, n + 1), repeat=3)), dtype=shades.dtype) * STEP
    tried = tried[tried.norm(dim=1) <= most].to(shades)
    found, any_spin = _disagreement(tried, times, shades, seen, *WINDOWS[0]), tried[::SPARSE]
    kept, step = tried[found.argsort()[: BEST[0]]], STEP
    around = tried.new_tensor(list(product((-1, 0, 1), repeat=3)))
    for width, count in WINDOWS[1:]:
        step /= 2
        tried = torch.unique((kept[:, None] + step * around).flatten(0, 1), dim=0)
        found = _disagreement(tried, times, shades, seen, width, count)
        kept = tried[found.argsort()[: BEST[1]]]
    chance = _disagreement(any_spin, times, shades, seen, *WINDOWS[-1])
    lead = (chance.mean() - found.min()) / chance.std().clamp(min=1e-12)
    return kept[0], float(lead)


def _of_the_surface(shades: Tensor, seen: Tensor) -> Tensor:
    """Shades without what light does, which stays where it is in the world while a thing turns, and
    without how bright each look is."""
    for dim in (0, 1):
        mean = (shades * seen).sum(dim, keepdim=True) / seen.sum(dim, keepdim=True).clamp(min=1e-6)
        shades = shades - mean
    return shades


def _disagreement(
    spins: Tensor, times: Tensor, shades: Tensor, seen: Tensor, width: float, count: int
) -> Tensor:
    """(K,) variance of what looks say of a spot, mean over windows of the clip, under each of the
    spins (K, 3)."""
    found, shades, seen = [], shades.flatten(), seen.flatten()
    away = spots().to(spins)
    for middle in torch.linspace(width / 2, 1 - width / 2, count).tolist():
        chosen = ((times - middle).abs() <= width / 2).nonzero()[:, 0]
        if len(chosen) < FEWEST:
            continue
        within = []
        for some in spins.split(AT_ONCE):
            angles = some[:, None] * (times[chosen] - middle)[None, :, None]
            turned = axis_angle_to_matrices(angles)[:, :, None] @ away[:, :, None]
            at = cell_of(turned[..., 0]) + (chosen * N_CELLS)[None, :, None]
            weight, shade = seen[at], shades[at]  # (k, v, N_SPOTS)
            total = weight.sum(1)
            mean = (weight * shade).sum(1) / total.clamp(min=1e-6)
            spread = (weight * shade.square()).sum(1) - total * mean.square()
            free = total - weight.square().sum(1) / total.clamp(min=1e-6)  # less for single looks
            within.append(spread.sum(1) / free.sum(1).clamp(min=1e-6))
        found.append(torch.cat(within))
    return torch.stack(found).mean(0) if found else spins.new_zeros(len(spins))
