"""GaussianAvatars' layout (Qian et al. 2024), as VHAP exports it: the head moves, in metres."""

from __future__ import annotations

import math

import numpy as np

from scripts.demo.talking_head.record import Picture, Record

SHAPES, EXPRESSIONS = 300, 100  # coefficients that the family's files hold
SPLITS = {"train": "train", "test": "test", "driving": "val"}  # what the family calls them
CANONICAL_JAW = 0.3  # radians
SLOTS = {
    "rotation": 3,
    "neck_pose": 3,
    "jaw_pose": 3,
    "eyes_pose": 6,
}  # of the 15 of a pose, in order


def pictures(record: Record, k: int, picture: Picture) -> dict[str, np.ndarray]:
    return {f"images/{_name(k)}": picture.rgb, f"fg_masks/{_name(k)}": picture.alpha[..., None]}


def documents(record: Record) -> dict[str, object]:
    lens = _lens(record)
    files: dict[str, object] = {
        f"transforms_{SPLITS[split]}.json": {
            **lens, "frames": [_frame(record, k, lens) for k in record.moments(split)]
        }
        for split in dict.fromkeys(record.split)
    }  # fmt: skip
    for k in range(len(record.split)):
        files[f"flame_param/{k:05d}.npz"] = _flame(
            record, record.expression[k], record.flame_pose[k]
        )
    rest = np.zeros(15)
    rest[6] = CANONICAL_JAW
    files["canonical_flame_param.npz"] = _flame(record, np.zeros(EXPRESSIONS), rest)
    return files


def _name(k: int) -> str:
    return f"{k:05d}_00.png"


def _lens(record: Record) -> dict[str, float]:
    fx, fy, cx, cy = record.K[[0, 1, 0, 1], [0, 1, 2, 2]].tolist()
    angle = 2 * math.atan(record.size / (2 * fx))
    return {"camera_angle_x": angle, "camera_angle_y": angle, "fl_x": fx, "fl_y": fy,
            "cx": cx, "cy": cy, "w": record.size, "h": record.size}  # fmt: skip


def _frame(record: Record, k: int, lens: dict[str, float]) -> dict[str, object]:
    return {
        "timestep_index": k,
        "camera_index": 0,
        "camera_id": "0",
        **lens,
        "transform_matrix": record.camera_to_world.tolist(),
        "file_path": f"images/{_name(k)}",
        "fg_mask_path": f"fg_masks/{_name(k)}",
        "flame_param_path": f"flame_param/{k:05d}.npz",
    }


def _flame(record: Record, expression: np.ndarray, pose: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of one moment; a leading axis of length 1 on all but the shape."""
    ends = np.cumsum(list(SLOTS.values()))
    parts = dict(zip(SLOTS, np.split(pose, ends[:-1]), strict=True))
    arrays = {name: part[None] for name, part in parts.items()}
    arrays["expr"] = np.pad(expression, (0, EXPRESSIONS - len(expression)))[None]
    arrays["shape"] = np.pad(record.shape, (0, SHAPES - len(record.shape)))
    arrays["translation"] = np.zeros((1, 3))
    arrays["static_offset"] = np.zeros((1, len(record.rest), 3))
    return {name: array.astype(np.float32) for name, array in arrays.items()}
