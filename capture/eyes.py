"""How far the eyes of every frame are shut, by the iris net's lids.

The net reads a gap in a shut eye, too: renders of the head model with known lids say how much
(`PointTable.openings`), and a clip's own open eyes give the gap of the person.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import median_filter
from torch import Tensor

from capture.find import Found
from capture.table import PointTable, lid_opening

OPEN = 75  # percentile of a clip's openings that is an open eye
SLOW = 1.2  # seconds; what lasts longer is no blink
DROOP = 0.3  # lids that close slowly by no more follow the gaze: no blink
NARROW = 0.08  # the least that an open eye counts as more open than a shut one
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
    # An eye that is turned away closes as the other one does.
    near = (trust * closing).sum(1, keepdims=True) / trust.sum(1, keepdims=True)
    closing = trust * closing + (1 - trust) * near
    window = 2 * round(SLOW * fps / 2) + 1
    slow = median_filter(closing, size=(window, 1), mode="nearest")
    blink = np.clip(closing - slow, 0, None) + np.clip((slow - DROOP) / (1 - DROOP), 0, None)
    # Noise of open eyes is no blink.
    blink = np.clip((blink - 0.12) / (1 - 0.12), 0, 1)
    return Eyes(*(torch.from_numpy(a).float() for a in (opening, closing, blink, trust)))


def rough_yaw(points: np.ndarray) -> np.ndarray:
    """Degrees (T,) that the head turns to its left, by the net's own depths of the eyes."""
    across = points[:, 263] - points[:, 33]
    return np.degrees(np.arctan2(across[:, 2], np.hypot(across[:, 0], across[:, 1])))
