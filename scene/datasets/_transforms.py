"""What the families of `transforms*.json` share: frames, their pictures, poses and lenses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from scene.cameras import Camera, intrinsics
from scene.datasets._values import camera_of, number, objects, pose, read_object, text
from utils.errors import InputError

Content = dict[str, Any]


def read_transforms(file: Path) -> tuple[Content, list[Content]]:
    """The file's object and its frames, at least one."""
    content = read_object(file)
    return content, objects(str(file), content, "frames")


def first_frame(file: Path) -> Content:
    """The first frame, for telling the families apart; empty where there is no such file or frame.

    A file that is there and cannot be read raises InputError.
    """
    frames = read_object(file).get("frames") if file.is_file() else None
    return frames[0] if isinstance(frames, list) and frames and isinstance(frames[0], dict) else {}


def place(file: Path, row: int, frame: Content) -> str:
    """The beginning of a message about one frame."""
    name = frame.get("file_path", "")
    return f"{file}: frame {row}" + (f" ({name})" if isinstance(name, str) and name else "")


def picture(file: Path, where: str, frame: Content, extension: str) -> Path:
    """The frame's picture: `file_path` beside the JSON file, `extension` appended if missing."""
    path = file.parent / text(where, frame, "file_path")
    return path if path.suffix == extension else path.with_name(path.name + extension)


def opengl_camera(where: str, frame: Content, K: Tensor, width: int, height: int) -> Camera:
    """The camera of `transform_matrix`, camera-to-world with OpenGL axes."""
    c2w = pose(where, frame, "transform_matrix")
    with camera_of(f"{where}: 'transform_matrix'", "mend or remove the frame"):
        return Camera.from_opengl_c2w(c2w, K, width, height)


def blender_intrinsics(where: str, values: Mapping[str, Any], width: int, height: int) -> Tensor:
    """(3, 3) from `fl_x`, `fl_y`, `cx`, `cy` (pixels), else from `camera_angle_x` (radians).

    `w` and `h`, where given, must be the picture's.
    """
    declared = tuple(
        number(where, values, key) if key in values else size
        for key, size in (("w", width), ("h", height))
    )
    if declared != (width, height):
        raise InputError(
            f"{where}: the picture is {width}x{height} but its camera says "
            f"{declared[0]:g}x{declared[1]:g}; "
            "resize the picture or correct w and h"
        )
    if "fl_x" in values:
        fx = number(where, values, "fl_x")
    else:
        angle = number(where, values, "camera_angle_x")
        if not 0 < angle < math.pi:
            raise InputError(f"{where}: camera_angle_x is {angle:g}; expected radians from 0 to pi")
        fx = width / (2 * math.tan(angle / 2))
    fy = number(where, values, "fl_y") if "fl_y" in values else fx
    cx, cy = (
        number(where, values, key) if key in values else size / 2
        for key, size in (("cx", width), ("cy", height))
    )
    return intrinsics(fx, fy, cx, cy)
