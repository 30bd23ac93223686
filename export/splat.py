"""`.splat`: 32 bytes a Gaussian and no header; colours without harmonics.

3 float32 position, 3 float32 scale, 4 bytes RGBA, 4 bytes quaternion wxyz.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from export.axes import Y_DOWN
from export.columns import Columns, columns_of, gaussians_of
from scene.gaussian_model import Gaussians
from utils.files import read_bytes, reading, replacing
from utils.sh import C0

AXES, MOVES = Y_DOWN, False
ROW = np.dtype([("xyz", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)])


def write_one(path: Path, gaussians: Gaussians, *, antialiased: bool = False) -> None:
    """Write Gaussians with harmonics, the most visible first, as viewers that load as they draw
    expect."""
    columns = columns_of(gaussians)
    columns = columns.rows(np.argsort(-columns.opacities * columns.scales.prod(1), kind="stable"))
    rows = np.empty(len(columns), ROW)
    rows["xyz"], rows["scale"] = columns.means, columns.scales
    rows["rgba"] = _byte(255 * np.column_stack([columns.rgb, columns.opacities]))
    rows["quat"] = _byte(128 * columns.quats + 128)
    with replacing(path) as part:
        rows.tofile(part)


def read_one(path: Path) -> Gaussians:
    """What `write_one` wrote; InputError where the bytes are no whole rows."""
    data = read_bytes(path)
    with reading(path, "a .splat file"):
        if not data or len(data) % ROW.itemsize:
            raise ValueError(f"{len(data):,} bytes are not rows of {ROW.itemsize}")
        rows = np.frombuffer(data, ROW)
        rgba, quats = rows["rgba"] / 255.0, (rows["quat"] - 128.0) / 128
        sh = (rgba[:, None, :3] - 0.5) / C0
        return gaussians_of(Columns(rows["xyz"], quats, rows["scale"], rgba[:, 3], sh))


def _byte(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)
