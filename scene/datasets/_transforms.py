"""What the families of `transforms*.json` share: frames, their pictures and lenses."""

from __future__ import annotations

import math
from dataclasses import replace
from os.path import exists, isdir, isfile  # False, too, for names that no disk can have
from pathlib import Path
from typing import Any

from torch import Tensor

from scene.cameras import Camera, intrinsics
from scene.datasets._entry import Entry, read_object
from scene.datasets._files import PICTURES
from scene.frames import Frame, Lens
from utils.errors import InputError

# COLMAP's names, which instant-ngp, nerfstudio and others write beside the coefficients.
PINHOLES = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
COEFFICIENTS = ("k1", "k2", "p1", "p2", "k3")
MAX_BEND = 1e4  # of a coefficient; those of narrow lenses reach hundreds
OTHER_LENSES = ("is_fisheye", "k4", "k5", "k6", "equirectangular", "latlong", "ftheta_p0")


def read_transforms(file: Path, *, may_be_empty: bool = False) -> tuple[Entry, list[Entry]]:
    """The file's object, and its frames; what holds for all is in each of them.

    Raises InputError where it lists none, unless it `may_be_empty`.
    """
    content = read_object(file)
    if may_be_empty and content.values.get("frames") == []:
        return content, []
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


def beside(file: Path, frame: Entry, key: str) -> Path:
    """The path that `key` names, as seen from the JSON file; written on Windows, too."""
    path = file.parent / frame.text(key)
    return path if exists(path) else file.parent / frame.text(key).replace("\\", "/")


def picture(file: Path, frame: Entry, extension: str) -> Path:
    """The frame's picture: `file_path` beside the JSON file, as it is where it ends as a picture
    does, else with `extension` appended; the other way round where only that file is there.

    Raises InputError naming both where neither is there but their folder.
    """
    named = beside(file, frame, "file_path")
    if not named.name:
        raise InputError(f"{frame.where}: 'file_path' names no file; expected that of a picture")
    tries = [named, named.with_name(named.name + extension)]
    if named.suffix.lower() not in PICTURES and named.suffix != extension:
        tries.reverse()
    found = next((path for path in tries if isfile(path)), tries[0])
    if not exists(found) and isdir(found.parent):
        raise InputError(
            f"{tries[0]}: no such picture; put it there or correct the path ({tries[1].name} is "
            "not there either; --extension says what is appended to names)"
        )
    return found


def straightened(frame: Frame, entry: Entry, camera: Camera) -> Frame:
    """The frame with the lens that bends its picture, if its file gives one: OpenCV's
    coefficients, undone as the picture is decoded. `camera`: at the size of the picture's file.

    Raises InputError where the camera's model is another one.
    """
    model = entry.values.get("camera_model", PINHOLES[0])
    strange = [key for key in OTHER_LENSES if entry.values.get(key)]
    if model not in PINHOLES or strange:
        raise InputError(
            f"{entry.where}: its camera is {strange[0] if strange else model!r}; known are "
            f"{', '.join(PINHOLES)} with k1 k2 p1 p2 k3: undistort the pictures first"
        )
    coefficients = tuple(entry.number(key, 0.0) for key in COEFFICIENTS)
    if not any(coefficients):
        return frame
    if max(map(abs, coefficients)) > MAX_BEND:
        raise InputError(
            f"{entry.where}: its lens has the coefficients {coefficients}; expected at most "
            f"{MAX_BEND:g}: correct {' '.join(COEFFICIENTS)}"
        )
    (fx, _, cx), (_, fy, cy) = camera.K[:2].tolist()
    return replace(frame, lens=Lens((fx, fy, cx, cy), coefficients))


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
