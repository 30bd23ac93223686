"""What no picture says: the true paths of points on the surfaces of a demo scene, `tracks.npz`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scripts.demo.robot.raycast import first_points
from scripts.demo.robot.shapes import Solid
from scripts.demo.robot.views import View

TRACKS = "tracks.npz"
N_POINTS = 500
N_VIEWS, SIDE = 12, 48  # cameras that look for them, and their pictures' pixels


def write_tracks(
    folder: Path, views: list[View], solids: Callable[[float], list[Solid]], fov_x: float, seed: int
) -> None:
    """Write "times" (T,) of all views, each once, and "points" (T, 500, 3) world units.

    The points are those that training cameras see of the first moment's surfaces, by chance.
    """
    times = np.unique([view.time for view in views])
    cameras = [view.c2w for view in views if view.split == "train"]
    cameras = cameras[:: max(len(cameras) // N_VIEWS, 1)]
    first = solids(float(times[0]))
    found = [first_points(first, c2w, fov_x, SIDE) for c2w in cameras]
    which, points = (np.concatenate(part) for part in zip(*found, strict=True))
    chosen = np.random.default_rng([seed, 7]).choice(len(which), N_POINTS, len(which) < N_POINTS)
    which, local = which[chosen], np.zeros((N_POINTS, 3))
    for k, solid in enumerate(first):
        own = which == k
        local[own] = (points[chosen][own] - solid.center) @ solid.unit_from_world.T
    paths = np.stack([_placed(solids(float(time)), which, local) for time in times])
    np.savez(folder / TRACKS, times=times, points=paths.astype(np.float32))


def _placed(solids: list[Solid], which: NDArray, local: NDArray) -> NDArray:
    """(P, 3) world places of points (P, 3) in the unit frames of the solids `which` (P,)."""
    places = np.zeros_like(local)
    for k, solid in enumerate(solids):
        own = which == k
        places[own] = (local[own] * solid.half) @ solid.pose[:3, :3].T + solid.center
    return places
