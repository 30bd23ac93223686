"""Optical flow from every frame to the one that follows it: computed from the pictures, or read
from files, and how far it is trusted."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from scene.frames import Frame


def following(frames: list[Frame]) -> list[int]:
    """For each frame the number of the one at the next moment, -1 at the last; of a rig's the one
    whose camera is nearest."""
    times = sorted({frame.time for frame in frames})
    later = dict(pairwise(times))
    at: dict[float, list[int]] = {}
    for k, frame in enumerate(frames):
        at.setdefault(frame.time, []).append(k)
    centers = torch.stack([frame.camera.center for frame in frames])
    found = []
    for k, frame in enumerate(frames):
        there = at.get(later.get(frame.time), [])
        found.append(there[_nearest(centers[k], centers[there])] if there else -1)
    return found


def _nearest(center: Tensor, others: Tensor) -> int:
    return int((others - center).norm(dim=1).argmin())
