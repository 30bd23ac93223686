"""NeRFBlendShape's layout (Gao et al. 2022), which GaussianHead reads too: the head is the world.

Its vectors are opaque coefficients of a tracker's own; here they are expression and pose, since
the first 46 numbers that the family's trackers write would not say where the jaw is.
"""

from __future__ import annotations

import numpy as np

from scripts.demo.talking_head.looks import LABELS
from scripts.demo.talking_head.record import Picture, Record

SPLITS = ("train", "test")  # one list; the end of it is the test split
PARSING = {"head": (0, 0, 255), "neck": (0, 255, 0), "cloth": (255, 0, 0)}  # on white


def pictures(record: Record, k: int, picture: Picture) -> dict[str, np.ndarray]:
    if record.split[k] not in SPLITS:
        return {}
    return {
        f"ori_imgs/{k}.jpg": picture.rgb,
        f"mask/{k + 1}.png": picture.alpha[..., None],  # the family counts masks from 1
        f"parsing/{k}.png": _parsing(picture.labels),
    }


def documents(record: Record) -> dict[str, object]:
    fx, fy, cx, cy = record.K[[0, 1, 0, 1], [0, 1, 2, 2]].tolist()
    codes = vectors(record)
    known = codes[record.moments("train")]
    frames = [
        {
            "img_id": k,
            "exp_ori": codes[k].tolist(),
            "transform_matrix": record.camera_to_head(k).tolist(),
        }
        for k in record.moments(*SPLITS)
    ]
    size = {"h": record.size, "w": record.size}
    return {
        "transforms.json": {**size, "fx": fx, "fy": fy, "cx": cx, "cy": cy, "frames": frames},
        f"min_{codes.shape[1]}.txt": _lines(known.min(0)),
        f"max_{codes.shape[1]}.txt": _lines(known.max(0)),
    }


def vectors(record: Record) -> np.ndarray:
    """Expression and pose of every moment, "T E+15"."""
    return np.concatenate((record.expression, record.flame_pose), 1)


def _parsing(labels: np.ndarray) -> np.ndarray:
    colors = np.full((256, 3), PARSING["head"], np.uint8)
    colors[LABELS["background"]] = 255
    for name in ("neck", "cloth"):
        colors[LABELS[name]] = PARSING[name]
    return colors[labels]


def _lines(values: np.ndarray) -> str:
    return "".join(f"{value:.8f}\n" for value in values)
