"""NeRFace's layout (Gafni et al. 2021): the head is the world, half a unit per metre."""

from __future__ import annotations

import math

import numpy as np

from scripts.demo.talking_head.layouts.nerfblendshape import vectors
from scripts.demo.talking_head.record import DISTANCE, Picture, Record

CAMERA_AT = 0.5  # world units before the head, as the public converter puts it
EXPRESSIONS = 76  # numbers that the family's files hold: expression, pose, zeros
SPLITS = {"train": "train", "test": "test", "driving": "val"}  # what the family calls them
PLATE = "bg/00050.png"  # of the empty room, which is white


def pictures(record: Record, k: int, picture: Picture) -> dict[str, np.ndarray]:
    return {f"{_path(record, k)}.png": picture.on_white}


def documents(record: Record) -> dict[str, object]:
    fx, fy, cx, cy = record.K[[0, 1, 0, 1], [0, 1, 2, 2]]
    lens = {
        "camera_angle_x": 2 * math.atan(record.size / (2 * fx)),
        "intrinsics": [fx, fy, cx / record.size, cy / record.size],
    }
    codes = vectors(record)
    codes = np.pad(codes, ((0, 0), (0, EXPRESSIONS - codes.shape[1])))
    splits = {
        f"transforms_{SPLITS[split]}.json": {
            **lens, "frames": [_frame(record, k, codes[k]) for k in record.moments(split)]
        }
        for split in dict.fromkeys(record.split)
    }  # fmt: skip
    return {**splits, PLATE: np.full((record.size, record.size, 3), 255, np.uint8)}


def _path(record: Record, k: int) -> str:
    split = record.split[k]
    return f"{SPLITS[split]}/f_{k - record.moments(split)[0]:04d}"


def _frame(record: Record, k: int, code: np.ndarray) -> dict[str, object]:
    c2w = record.camera_to_head(k)
    c2w[:3, 3] *= CAMERA_AT / DISTANCE
    marks = record.landmark_pixels(k) / record.size
    (left, top), (right, bottom) = marks.min(0).tolist(), marks.max(0).tolist()
    return {
        "file_path": f"./{_path(record, k)}",
        "bbox": [top, bottom, left, right],
        "transform_matrix": c2w.tolist(),
        "expression": code.tolist(),
    }
