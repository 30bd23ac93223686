"""What the families of `transforms*.json` share: frames, their pictures and lenses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from torch import Tensor

from scene.cameras import intrinsics
from scene.datasets._entry import Entry, read_object
from utils.errors import InputError


def read_transforms(file: Path) -> tuple[Entry, list[Entry]]:
    """The file's object, and its frames, at least one; what holds for all is in each of them."""
    content = read_object(file)
    frames = content.objects("frames")
    return content, [content | frame_of(file, row, f.values) for row, f in enumerate(frames)]


def frame_of(file: Path, row: int, values: dict[str, Any]) -> Entry:
    """A frame whose messages name its picture."""
    name = values.get("file_path", "")
    named = f" ({name})" if isinstance(name, str) and name else ""
    return Entry(f"{file}: frame {row}{named}", values)


def first_frame(file: Path) -> Entry:
    """The first frame, for telling the families apart; empty where there is no such file or frame.

    A file that is there and cannot be read raises InputError.
    """
    frames = read_object(file).values.get("frames") if file.is_file() else None
    found = isinstance(frames, list) and frames and isinstance(frames[0], dict)
    return Entry(f"{file}: frame 0", frames[0] if found else {})


def picture(file: Path, frame: Entry, extension: str) -> Path:
    """The frame's picture: `file_path` beside the JSON file, `extension` appended if missing."""
    path = file.parent / frame.text("file_path")
    return path if path.suffix == extension else path.with_name(path.name + extension)


def blender_intrinsics(frame: Entry, width: int, height: int) -> Tensor:
    """(3, 3) from `fl_x`, `fl_y`, `cx`, `cy` (pixels), else from `camera_angle_x` (radians).

    `w` and `h`, where given, must be the picture's.
    """
    declared = frame.number("w", width), frame.number("h", height)
    if declared != (width, height):
        raise InputError(
            f"{frame.where}: the picture is {width}x{height} but its camera says "
            f"{declared[0]:g}x{declared[1]:g}; resize the picture or correct w and h"
        )
    if "fl_x" in frame:
        fx = frame.number("fl_x")
    else:
        angle = frame.number("camera_angle_x")
        if not 0 < angle < math.pi:
            raise InputError(
                f"{frame.where}: camera_angle_x is {angle:g}; expected radians from 0 to pi"
            )
        fx = width / (2 * math.tan(angle / 2))
    fy, cx, cy = (
        frame.number("fl_y", fx),
        frame.number("cx", width / 2),
        frame.number("cy", height / 2),
    )
    return intrinsics(fx, fy, cx, cy)
