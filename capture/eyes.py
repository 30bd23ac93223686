"""How far the eyes of every frame are shut, by two nets that read lids, each in its own way.

Both read a gap in a shut eye, too, and one that changes with the head's turn and nod. So a blink is
a short dip of the opening, told by what the eye opened just before and after, and the deepest dips
of a clip say how far this person's lids are apart when they are shut. Lids that stay low follow the
gaze more often than not: they count where both nets see them closed. The iris net's gap is known
from renders of the head model with known lids (`PointTable.openings`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import median_filter
from torch import Tensor

from capture.find import Found
from capture.nets import LEFT_EYE, RIGHT_EYE
from capture.table import LEFT_LID_PAIRS, RIGHT_LID_PAIRS, PointTable, lid_opening, rough_yaw

OPEN = 75  # percentile of a clip's openings that is an open eye
SLOW = 1.2  # seconds; what lasts longer is no blink
DROOP = 0.3  # lids that close slowly by no more follow the gaze: no blink
NOISE = 0.15, 0.4  # closing that is nothing, and from which on it counts whole
NARROW = 0.08  # the least that an open eye counts as more open than a shut one
POINTS_SHUT = 0.66  # of an open eye's gap between the 468 points, in a shut one
SHALLOW = 0.3  # of the opening: the least that a clip's deepest blinks take away
SURE = 2.0  # times what the iris net sees of a blink: the most that the points make of it
WINK = 0.25, 0.5  # half the eyes' difference that is an error of the nets, and that is a wink
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
    opening = lid_opening(found.points, found.lids)
    yaw = rough_yaw(found.points)
    trust = np.clip(1 - (np.stack((-yaw, yaw), 1) - FARTHEST) / 10, 0.05, 1)
    level = np.percentile(opening, OPEN, axis=0)
    wide, shut = float(table.openings[0]), float(table.openings[2])
    closing = np.clip((level - opening) / np.maximum(level - shut, NARROW), -0.5, 1.1)
    # An eye that is turned away closes as the other one does.
    closing = _nearer(closing, trust)
    by_points = _nearer(_by_points(found.points[..., :2]), trust)
    window = 2 * round(SLOW * fps / 2) + 1
    slow_opening, slow, slow_points = (
        median_filter(value, size=(window, 1), mode="nearest")
        for value in (opening, closing, by_points)
    )
    dip = _nearer(1 - opening / np.maximum(slow_opening, 1e-6), trust)
    dip = dip / _deepest(dip, most=1 - shut / wide)
    fast = _together(np.maximum(dip, np.minimum(by_points - slow_points, SURE * dip)))
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


def _deepest(dip: np.ndarray, *, most: float) -> float:
    """What a blink that shuts the eyes takes of their opening: the third deepest of all frames
    (T, 2), since one or two may be errors."""
    return float(np.clip(np.sort(dip.mean(1))[-3:].min(), SHALLOW, most))


def _together(fast: np.ndarray) -> np.ndarray:
    """Both eyes (T, 2) blink alike but where they differ by more than the nets' errors."""
    both = fast.mean(1, keepdims=True)
    off = fast - both
    return both + off * np.clip((np.abs(off) - WINK[0]) / (WINK[1] - WINK[0]), 0, 1)
