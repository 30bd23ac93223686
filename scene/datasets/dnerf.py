"""D-NeRF / Blender folders: `transforms_{train,val,test}.json` with camera-to-world matrices in
OpenGL axes, a `time` per frame, and RGBA pictures (Pumarola et al., "D-NeRF", CVPR 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scene import Scene
from scene.cameras import Camera, target_size
from scene.datasets._files import rows_of
from scene.datasets._points import cube_in_view, usable_points
from scene.datasets._settings import Extension
from scene.datasets._transforms import (
    Content,
    blender_intrinsics,
    first_frame,
    opengl_camera,
    picture,
    place,
    read_transforms,
)
from scene.datasets._values import number
from scene.frames import Frame
from scene.paths import orbit
from utils.errors import InputError
from utils.images import image_size

if TYPE_CHECKING:
    from arguments.settings import ModelParams

LOOKED_FOR = "transforms_train.json whose frames have 'time' and 'transform_matrix' alone"
OTHER_FAMILIES = ("expression", "bbox", "flame_param_path")  # they keep frames in the same file
N_VIDEO_FRAMES = 160
VIDEO_ELEVATION = math.radians(30)


@dataclass(frozen=True)
class DataParams(Extension):
    """How a D-NeRF folder is read."""


def recognise(path: Path) -> str:
    frame = first_frame(path / "transforms_train.json")
    if "time" in frame and not any(key in frame for key in OTHER_FAMILIES):
        return "transforms_train.json, whose frames have a time and no expression"
    return ""


def read(path: Path, params: ModelParams, data: DataParams) -> Scene:
    """Read the folder; `params.resolution` sets the size, `eval` keeps test frames out of train."""
    splits = {
        name: _read_split(path / f"transforms_{name}.json", params, data, required=name != "val")
        for name in ("train", "test", "val")
    }
    moments = [frame.time for split in splits.values() for frame in split]
    rows, last = rows_of(moments), max(moments)
    # Published scenes span [0, 1] over all splits; only longer clocks are brought there.
    scale = 1.0 / max(last, 1.0)
    train, test, val = (
        [
            Frame(frame.camera, rows[frame.time], frame.time * scale, frame.image_path)
            for frame in splits[name]
        ]
        for name in ("train", "test", "val")
    )
    if not params.eval:
        train = train + test
    cameras = [frame.camera for frame in train]
    fused = path / "fused.ply"
    points = usable_points(fused) if fused.is_file() else cube_in_view(cameras, params.init_points)
    return Scene(train, test, _video(cameras), points, val)


def _read_split(
    file: Path, params: ModelParams, data: DataParams, *, required: bool
) -> list[Frame]:
    if not file.is_file():
        if not required:
            return []
        raise InputError(
            f"{file}: not found; a D-NeRF folder holds transforms_train.json and "
            "transforms_test.json"
        )
    content, frames = read_transforms(file)
    return [_read_frame(file, content, row, frame, params, data) for row, frame in enumerate(frames)]


def _read_frame(
    file: Path, content: Content, row: int, frame: Content, params: ModelParams, data: DataParams
) -> Frame:
    where = place(file, row, frame)
    image = picture(file, where, frame, data.extension)
    time = number(where, frame, "time")
    if time < 0:
        raise InputError(f"{where}: time is {time}; expected a number from 0 to 1")
    width, height = image_size(image)
    K = blender_intrinsics(where, {**content, **frame}, width, height)
    camera = opengl_camera(where, frame, K, width, height)
    return Frame(camera.resized(*target_size(width, height, params.resolution)), 0, time, image)


def _video(cameras: list[Camera]) -> list[Frame]:
    path = orbit(cameras, N_VIDEO_FRAMES, VIDEO_ELEVATION)
    return [Frame(camera, k, k / (N_VIDEO_FRAMES - 1)) for k, camera in enumerate(path)]
