"""D-NeRF / Blender folders: `transforms_{train,val,test}.json` with camera-to-world matrices in
OpenGL axes, a `time` per frame, and RGBA pictures (Pumarola et al., "D-NeRF", CVPR 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from scene import Scene
from scene.cameras import Camera
from scene.datasets._entry import Entry
from scene.datasets._moments import along, clock_of, rows_of
from scene.datasets._points import cube_in_view, usable_points
from scene.datasets._settings import Extension
from scene.datasets._transforms import (
    blender_intrinsics,
    first_frame,
    picture,
    read_transforms,
    straightened,
)
from scene.frames import Frame
from scene.paths import orbit
from scene.world import Placed
from utils.errors import InputError
from utils.images import image_size

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


def read(path: Path, params: Placed, data: DataParams) -> Scene:
    """Read the folder; `params.resolution` sets the size, `eval` keeps test frames out of train."""
    splits = {
        name: _read_split(path / f"transforms_{name}.json", params, data, required=name != "val")
        for name in ("train", "test", "val")
    }
    moments = {frame.image_path: frame.time for split in splits.values() for frame in split}
    rows, clock = rows_of(moments.values()), clock_of(moments)
    train, test, val = (
        [replace(frame, index=rows[frame.time], time=clock(frame.time)) for frame in splits[name]]
        for name in ("train", "test", "val")
    )
    if not params.eval:
        train = train + test
    cameras = [frame.camera for frame in train]
    fused = path / "fused.ply"
    points = (
        usable_points(fused, params.world)
        if fused.exists()
        else cube_in_view(cameras, params.init_points)
    )
    video = along(orbit(cameras, N_VIDEO_FRAMES, VIDEO_ELEVATION))
    return Scene(train, test, video, points, val)


def _read_split(file: Path, params: Placed, data: DataParams, *, required: bool) -> list[Frame]:
    if not file.is_file():
        if not required:
            return []
        raise InputError(
            f"{file}: not found; a D-NeRF folder holds transforms_train.json and "
            "transforms_test.json"
        )
    _, frames = read_transforms(file, may_be_empty=file.name != "transforms_train.json")
    return [_read_frame(file, frame, params, data) for frame in frames]


def _read_frame(file: Path, frame: Entry, params: Placed, data: DataParams) -> Frame:
    image, time = picture(file, frame, data.extension), frame.number("time")
    size = image_size(image)
    K = blender_intrinsics(frame, *size)
    world = params.world.held
    camera = frame.camera("transform_matrix", Camera.from_opengl_c2w, K, size, world)
    return straightened(Frame(camera.at(params.resolution), 0, time, image), frame, camera)
