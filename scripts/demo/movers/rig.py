"""Twelve cameras around the floor; one of them, another each time, sees a moment.

A held-out moment lies between two of training and is seen by neither of their two cameras.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scripts.demo.robot.views import GAP_SHARE, View, looking_at, times_of

FOV_X = 0.8726646259971648  # radians, 50 degrees
TARGET = np.array([0.0, 0.0, 0.6])  # what all cameras look at, world units
# Rings of cameras: how many, degrees above the horizon, world units from the target.
RINGS = ((4, 12.0, 5.8), (4, 32.0, 5.4), (3, 55.0, 5.6), (1, 90.0, 5.8))


def make_views(counts: dict[str, int], seed: int) -> list[View]:
    """All views of all splits (`counts`: views by split), reproducible from `seed`."""
    cameras = make_rig(np.random.default_rng([seed, 0]))
    gaps = counts["train"] - 1
    order = _order(gaps + 1, len(cameras), np.random.default_rng([seed, 1]))
    views = [View("train", i, i / gaps, cameras[k]) for i, k in enumerate(order)]
    for number, split in enumerate(("val", "test")):
        rng = np.random.default_rng([seed, 2 + number])
        for i, time in enumerate(times_of(counts[split], gaps, GAP_SHARE[split])):
            before = int(time * gaps)
            others = np.setdiff1d(np.arange(len(cameras)), order[before : before + 2])
            views.append(View(split, i, time, cameras[rng.choice(others)]))
    return views


def make_rig(rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Camera-to-world (4, 4) of every camera; the seed turns the rings and moves the cameras."""
    cameras = []
    for count, elevation, distance in RINGS:
        first = rng.uniform(0, 2 * np.pi)
        for k in range(count):
            azimuth = first + 2 * np.pi * (k + rng.uniform(-0.1, 0.1)) / count
            away = distance * rng.uniform(0.97, 1.03)
            cameras.append(looking_at(TARGET, azimuth, np.sin(np.radians(elevation)), away))
    return cameras


def _order(moments: int, cameras: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Which camera sees each moment: all before one again, so none stays away for long."""
    rounds = -(-moments // cameras)
    return np.concatenate([rng.permutation(cameras) for _ in range(rounds)])[:moments]
