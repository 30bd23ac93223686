"""Who is the person, and what of the person is the head, in the square pictures of a clip."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from capture.nets import FaceNets
from scene.head.model import HeadModel
from utils.images import Pixels

RADIUS, EPSILON = 0.01, 1e-4  # of the guided filter: parts of the width; squared grey levels
LOW, SPAN = 0.15, 0.7  # of the net's matte: what becomes 0, and how much more becomes 1
SKIN, NECK = 1, 14  # CelebAMask's numbers, which IMavatar's `semantic` pictures hold
CLOTH = 16
HAIR = 17


def person_mask(picture: Pixels, face: np.ndarray, nets: FaceNets) -> np.ndarray:
    """Coverage (H, W) uint8 of the person whose face has the points (N, 2).

    The net's matte is 256 wide; a guided filter (He et al. 2010) takes its edge to the picture's.
    """
    matte = nets.person(picture)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    matte = _guided(grey, matte, max(2, round(RADIUS * len(picture))))
    matte = np.clip((matte - LOW) / SPAN, 0, 1)
    count, labels = cv2.connectedComponents((matte > 0.5).astype(np.uint8))
    if count > 2:
        rows = np.clip(face.astype(int), 0, len(picture) - 1)
        own = np.bincount(labels[rows[:, 1], rows[:, 0]], minlength=count)
        own[0] = 0
        if own.max() > 0:
            near = cv2.dilate((labels == own.argmax()).astype(np.uint8), np.ones((5, 5), np.uint8))
            matte = matte * near
    return np.floor(matte * 255 + 0.5).astype(np.uint8)


def head_labels(mask: np.ndarray, outline: np.ndarray, chin: float) -> np.ndarray:
    """(H, W) uint8, CelebAMask's numbers: the head mesh's outline, and all of the person above it.

    Args:
        mask: (H, W) coverage of the person.
        outline: (H, W) bool, where the fitted mesh's head (without its neck) is seen.
        chin: row of the lowest point of the face; what is beside and below it is body.
    """
    person = mask > 127
    rows = np.arange(len(mask))
    first = np.where(outline.any(0), np.where(outline, rows[:, None], 0).max(0), -1)
    columns = np.flatnonzero(first >= 0)
    labels = np.where(person, CLOTH, 0).astype(np.uint8)
    if not len(columns):
        return labels
    ears = np.flatnonzero(outline.any(1))
    lowest = np.interp(np.arange(mask.shape[1]), columns, first[columns])
    # Hair beside the face hangs down to the ears' height, not to the shoulders.
    side = ears[0] + 0.6 * (chin - ears[0])
    outside = (np.arange(mask.shape[1]) < columns[0]) | (np.arange(mask.shape[1]) > columns[-1])
    limit = np.where(outside, np.minimum(lowest, side), lowest)
    above = rows[:, None] <= limit[None]
    labels[person & above & ~outline] = HAIR
    labels[person & outline] = SKIN
    return labels


def hangs_on_body(model: HeadModel) -> np.ndarray:
    """(V,) bool: which vertices are neck, or follow the body more than the head."""
    body = model.skin_weights[:, 0] > 0.5
    neck = torch.zeros(len(model.template), dtype=torch.bool)
    neck[model.masks.get("neck", torch.zeros(0, dtype=torch.int64))] = True
    return (body | neck).numpy()


def _guided(guide: np.ndarray, values: np.ndarray, radius: int) -> np.ndarray:
    """Values that follow the guide's edges: a linear model of the guide in every window."""

    def mean(picture: np.ndarray) -> np.ndarray:
        return cv2.blur(picture, (2 * radius + 1, 2 * radius + 1), borderType=cv2.BORDER_REFLECT)

    guide_mean, value_mean = mean(guide), mean(values)
    variance = mean(guide * guide) - guide_mean**2
    slope = (mean(guide * values) - guide_mean * value_mean) / (variance + EPSILON)
    return mean(slope) * guide + mean(value_mean - slope * guide_mean)
