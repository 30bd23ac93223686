"""INSTA's layout (Zielonka et al. 2023), as its tool makes it: the head is the world, in metres.

Text files hold FLAME's numbers of every frame, with jaw and eyes as FATE's tracker writes them.
"""

from __future__ import annotations

import numpy as np

from scripts.demo.talking_head.mesh import Array
from scripts.demo.talking_head.record import OPENGL, Picture, Record

SPLITS = {"train": "train", "test": "test", "driving": "val"}  # what the family calls them
JAW, EYES = slice(6, 9), slice(9, 15)  # of the 15 numbers of a pose


def pictures(record: Record, k: int, picture: Picture) -> dict[str, np.ndarray]:
    return {f"images/{k:05d}.png": np.dstack((picture.rgb, picture.alpha))}


def documents(record: Record) -> dict[str, object]:
    fx, fy, cx, cy = record.K[[0, 1, 0, 1], [0, 1, 2, 2]].tolist()
    lens = {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": record.size, "h": record.size}
    files: dict[str, object] = {
        f"transforms_{SPLITS[split]}.json": {
            **lens, "frames": [_frame(record, k) for k in record.moments(split)]
        }
        for split in dict.fromkeys(record.split)
    }  # fmt: skip
    for k in range(len(record.split)):
        pose = record.flame_pose[k]
        codes = {"exp": record.expression[k], "jaw": pose[JAW], "eyes": pose[EYES]}
        for name, values in {**codes, "shape": record.shape}.items():
            files[f"flame/{name}/{k:05d}.txt"] = _lines(values)
    return files


def _frame(record: Record, k: int) -> dict[str, object]:
    return {
        "file_path": f"images/{k:05d}.png",
        "exp_path": f"flame/exp/{k:05d}.txt",
        "transform_matrix": (record.camera_to_head(k) @ OPENGL).tolist(),
    }


def _lines(values: Array) -> str:
    return "".join(f"{value:.8f}\n" for value in values)
