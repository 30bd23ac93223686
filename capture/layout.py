"""Write a fitted clip as a subject in the layout of IMavatar, which that family's reader reads.

A world of FLAME's metres times four, OpenGL axes, a negative first focal length, pictures numbered
from 1; the root joint stays and the head turns in its neck (data/README.md, "IMavatar").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from capture.fit import FLIP, Fit
from scene.head.landmarks import landmarks
from scene.head.model import HeadModel, pose_head
from utils.files import write_json

SCALE = 4.0  # world units per metre
SHAPES = 100  # identity coefficients that the family's files hold


@dataclass(frozen=True)
class Split:
    """Which frames of a clip are trained on, and which are held out; the rest is in neither."""

    train: np.ndarray  # row numbers
    test: np.ndarray


def blocks(count: int, part: float, fps: float) -> Split:
    """Hold out `part` of the frames in blocks spread over the clip.

    The frames around a block are left out of training, so that the score is no interpolation
    between neighbours a twenty-fifth of a second apart.
    """
    length = max(1, round(BLOCK * fps))
    n_blocks = max(1, round(part * count / length))
    gap = max(1, round(NEIGHBOURS * fps))
    middles = (np.arange(n_blocks) + 0.5) * count / n_blocks
    role = np.zeros(count, int)
    for middle in middles:
        start = int(np.clip(round(middle - length / 2), 0, max(count - length, 0)))
        role[max(start - gap, 0) : start + length + gap] = 2
    for middle in middles:
        start = int(np.clip(round(middle - length / 2), 0, max(count - length, 0)))
        role[start : start + length] = 1
    return Split(np.flatnonzero(role == 0), np.flatnonzero(role == 1))


def tail(count: int, part: float) -> Split:
    """Hold out the last `part` of the frames."""
    start = count - max(1, round(part * count))
    return Split(np.arange(start), np.arange(start, count))


BLOCK, NEIGHBOURS = 0.8, 0.2  # seconds


def video_document(
    fit: Fit, rows: Sequence[int], names: Sequence[str], model: HeadModel, size: int
) -> dict[str, object]:
    """`flame_params.json` of one video folder; `names` are the pictures', without a suffix."""
    shape = np.zeros(max(SHAPES, len(fit.shape)))
    shape[: len(fit.shape)] = fit.shape.numpy()
    person = model.personal(fit.shape)
    focal = float(fit.focal[rows[0]]) / size
    frames = [_frame(fit, row, name, person, size) for row, name in zip(rows, names, strict=True)]
    return {
        "frames": frames,
        "intrinsics": [-focal, focal, 0.5, 0.5],  # the family's x axis has its sign there
        "shape_params": shape.tolist(),
    }


def _frame(fit: Fit, row: int, name: str, person: HeadModel, size: int) -> dict[str, object]:
    moved = (FLIP * fit.shift[row] * SCALE)[:, None]
    world_mat = torch.cat((torch.eye(3), moved), 1)
    posed = pose_head(person, fit.pose[row], expression=fit.expression[row])
    marks = landmarks(person, posed.vertices) * FLIP + fit.shift[row]
    keypoints = 2 * (fit.focal[row] * marks[:, :2] / marks[:, 2:] + size / 2) / size - 1
    box = torch.cat((keypoints.amin(0), keypoints.amax(0)))
    return {
        "file_path": f"./image/{name}",
        "world_mat": world_mat.tolist(),
        "expression": fit.expression[row].tolist(),
        "pose": fit.pose[row].tolist(),
        "bbox": box.tolist(),
        "flame_keypoints": keypoints.tolist(),
    }


def write_video(
    folder: Path, fit: Fit, rows: Sequence[int], names: Sequence[str], model: HeadModel, size: int
) -> None:
    """Write the document of a video folder; its pictures are written beside it by others."""
    write_json(folder / "flame_params.json", video_document(fit, rows, names, model, size))
