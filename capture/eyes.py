"""How far the eyes of every frame are shut, by two nets that read lids, each in its own way.

Both read a gap in a shut eye, too. The iris net's is known from renders of the head model with
known lids (`PointTable.openings`), but it takes lids that follow a glance for closing ones; the
landmark net's gap changes with the head's turn. So what comes and goes like a blink counts where
either sees it, and what stays counts where both do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import median_filter
from torch import Tensor

from capture.find import Found
from capture.nets import LEFT_EYE, RIGHT_EYE
from capture.table import LEFT_LID_PAIRS, RIGHT_LID_PAIRS, PointTable, lid_opening

OPEN = 75  # percentile of a clip's openings that is an open eye
SLOW = 1.2  # seconds; what lasts longer is no blink
DROOP = 0.3  # lids that close slowly by no more follow the gaze: no blink
NOISE = 0.1, 0.3  # closing that is nothing, and from which on it counts whole
NARROW = 0.08  # the least that an open eye counts as more open than a shut one
POINTS_SHUT = 0.66  # of an open eye's gap between the 468 points, in a shut one
FARTHEST = 25.0  # degrees: an eye turned away farther is taken for the other one


@dataclass(frozen=True)
class Eyes:
    """Columns: the right and the left eye."""

    opening: Tensor  # (T, 2) as the net reads it: gap over width
    closing: Tensor  # (T, 2) 0 for the clip's open eye, 1 for a shut one
    blink: Tensor  # (T, 2) in [0, 1]: what of the closing is a blink, or eyes kept shut
    trust: Tensor  # (T, 2) 1 where the eye is well seen, towards 0 where it is turned away


def eyes_of(found: Found, table: PointTable, fps: float) -> Eyes:
    """Of frames that all have a face."""
    opening = lid_opening(found.points[..., :2], found.lids)
    yaw = rough_yaw(found.points)
    trust = np.clip(1 - (np.stack((-yaw, yaw), 1) - FARTHEST) / 10, 0.05, 1)
    level = np.percentile(opening, OPEN, axis=0)
    shut = float(table.openings[2])
    closing = np.clip((level - opening) / np.maximum(level - shut, NARROW), -0.5, 1.1)
    by_points = _by_points(found.points[..., :2])
    # An eye that is turned away closes as the other one does.
    closing, by_points = (_nearer(value, trust) for value in (closing, by_points))
    window = 2 * round(SLOW * fps / 2) + 1
    slow, slow_points = (
        median_filter(value, size=(window, 1), mode="nearest") for value in (closing, by_points)
    )
    fast = np.maximum(closing - slow, by_points - slow_points)
    kept = np.clip((np.minimum(slow, slow_points) - DROOP) / (1 - DROOP), 0, None)
    blink = np.clip(np.clip(fast, 0, None) + kept, 0, 1)
    blink = blink * np.clip((blink - NOISE[0]) / (NOISE[1] - NOISE[0]), 0, 1)
    return Eyes(*(torch.from_numpy(a).float() for a in (opening, closing, blink, trust)))


def _by_points(points: np.ndarray) -> np.ndarray:
    """Closing (T, 2) by the 468 points (T, 468, 2), 0 for the clip's open eye, 1 for a shut one."""
    columns = []
    for pairs, corners in ((RIGHT_LID_PAIRS, RIGHT_EYE), (LEFT_LID_PAIRS, LEFT_EYE)):
        a, b = np.array(pairs[:3]).T
        gap = np.linalg.norm(points[:, a] - points[:, b], axis=-1).mean(1)
        width = np.linalg.norm(points[:, corners[0]] - points[:, corners[1]], axis=-1)
        opening = gap / np.maximum(width, 1e-6)
        level = max(float(np.percentile(opening, OPEN)), 1e-6)
        columns.append((1 - opening / level) / (1 - POINTS_SHUT))
    return np.clip(np.stack(columns, 1), -0.5, 1.1)


def _nearer(closing: np.ndarray, trust: np.ndarray) -> np.ndarray:
    both = (trust * closing).sum(1, keepdims=True) / trust.sum(1, keepdims=True)
    return trust * closing + (1 - trust) * both


def rough_yaw(points: np.ndarray) -> np.ndarray:
    """Degrees (T,) that the head turns to its left, by the net's own depths of the eyes."""
    across = points[:, 263] - points[:, 33]
    return np.degrees(np.arctan2(across[:, 2], np.hypot(across[:, 0], across[:, 1])))
