"""IMavatar's layout (Zheng et al. 2022): a folder per video, FLAME in units of a quarter metre."""

from __future__ import annotations

import numpy as np

from scripts.demo.talking_head.mesh import Array
from scripts.demo.talking_head.record import OPENGL, Picture, Record

SUBJECT = "demo_head"
SCALE = 4  # world units per metre
SHAPES, EXPRESSIONS = 100, 50  # coefficients that the family's files hold


def pictures(record: Record, k: int, picture: Picture) -> dict[str, np.ndarray]:
    video, number = _place(record, k)
    return {
        f"{video}/image/{number}.png": picture.rgb,
        f"{video}/mask/{number}.png": picture.alpha[..., None],
        f"{video}/semantic/{number}.png": picture.labels[..., None],
    }


def documents(record: Record) -> dict[str, object]:
    videos = dict.fromkeys(record.split)
    return {f"{SUBJECT}/{SUBJECT}/{v}/flame_params.json": _video(record, v) for v in videos}


def _place(record: Record, k: int) -> tuple[str, int]:
    """Folder of moment k, and its number there, from 1 as ffmpeg counts."""
    split = record.split[k]
    return f"{SUBJECT}/{SUBJECT}/{split}", k - record.moments(split)[0] + 1


def _video(record: Record, split: str) -> dict[str, object]:
    world_mat = (OPENGL @ record.viewmat)[:3]
    world_mat[:, 3] *= SCALE
    fx, fy, cx, cy = record.K[[0, 1, 0, 1], [0, 1, 2, 2]] / record.size
    shape = np.zeros(SHAPES)
    shape[: len(record.shape)] = record.shape
    return {
        "frames": [_frame(record, k, world_mat) for k in record.moments(split)],
        "intrinsics": [-fx, fy, cx, cy],  # the family's x axis has its sign in the focal length
        "shape_params": shape.tolist(),
    }


def _frame(record: Record, k: int, world_mat: Array) -> dict[str, object]:
    keypoints = 2 * record.landmark_pixels(k) / record.size - 1
    return {
        "file_path": f"./image/{_place(record, k)[1]}",
        "world_mat": world_mat.tolist(),
        "expression": record.expression[k, :EXPRESSIONS].tolist(),
        "pose": record.flame_pose[k].tolist(),
        "bbox": np.concatenate((keypoints.min(0), keypoints.max(0))).tolist(),
        "flame_keypoints": keypoints.tolist(),
    }
