"""D-NeRF / Blender folders: `transforms_{train,val,test}.json` with camera-to-world matrices in OpenGL
axes, a `time` per frame, and RGBA pictures (Pumarola et al., "D-NeRF", CVPR 2021)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scene import Scene
from scene.cameras import Camera, focus, intrinsics, orbit, target_size
from scene.frames import Frame, PointCloud
from utils.errors import InputError
from utils.files import read_json
from utils.images import image_size
from utils.ply import read_points
from utils.random import generator

if TYPE_CHECKING:
    from arguments.settings import ModelParams

N_VIDEO_FRAMES = 160
VIDEO_ELEVATION = math.radians(30)


def read(path: Path, params: ModelParams) -> Scene:
    """Read the folder; `params.resolution` sets the size, `eval` holds the test frames out of train."""
    splits = {
        name: _read_split(path / f"transforms_{name}.json", params, required=name != "val")
        for name in ("train", "test", "val")
    }
    last = max((frame["time"] for split in splits.values() for frame in split), default=0.0)
    # Published scenes span [0, 1] over all splits; only longer clocks are brought there.
    scale = 1.0 / max(last, 1.0)
    moments = sorted({frame["time"] for split in splits.values() for frame in split})
    rows = {time: row for row, time in enumerate(moments)}
    train, test, val = (
        [
            Frame(frame["camera"], rows[frame["time"]], frame["time"] * scale, frame["path"])
            for frame in splits[name]
        ]
        for name in ("train", "test", "val")
    )
    if not params.eval:
        train = train + test
    cameras = [frame.camera for frame in train]
    return Scene(train, test, _video(cameras), _points(path, cameras, params), val)


def _read_split(file: Path, params: ModelParams, *, required: bool) -> list[dict[str, Any]]:
    if not file.is_file():
        if not required:
            return []
        raise InputError(f"{file}: not found; a D-NeRF folder holds transforms_train.json and transforms_test.json")
    content = read_json(file)
    if not isinstance(content, dict) or not isinstance(content.get("frames"), list):
        raise InputError(f"{file}: expected an object with a list 'frames'; see data/README.md")
    if not content["frames"] and required:
        raise InputError(f"{file}: it lists no frames; at least one is needed")
    return [_read_frame(file, content, row, params) for row in range(len(content["frames"]))]


def _read_frame(file: Path, content: dict[str, Any], row: int, params: ModelParams) -> dict[str, Any]:
    frame = content["frames"][row]
    where = f"{file}: frame {row}"
    if not isinstance(frame, dict) or not isinstance(frame.get("file_path"), str):
        raise InputError(f"{where} has no 'file_path'; every frame names its picture")
    where += f" ({frame['file_path']})"
    image = file.parent / frame["file_path"]
    if image.suffix != params.extension:
        image = image.with_name(image.name + params.extension)
    time = _number(where, frame, "time")
    if not math.isfinite(time) or time < 0:
        raise InputError(f"{where}: time is {time}; expected a number from 0 to 1")
    if "transform_matrix" not in frame:
        raise InputError(f"{where} has no 'transform_matrix'; expected a 4x4 camera-to-world matrix")
    try:
        c2w = torch.tensor(frame["transform_matrix"], dtype=torch.float64).reshape(4, 4)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{where}: 'transform_matrix' is not a 4x4 matrix of numbers") from None
    width, height = image_size(image)
    K = _intrinsics(where, {**content, **frame}, width, height)
    try:
        camera = Camera.from_opengl_c2w(c2w, K, width, height)
    except ValueError as error:
        raise InputError(f"{where}: 'transform_matrix' is no camera pose: {error}; mend or remove the frame") from None
    camera = camera.resized(*target_size(width, height, params.resolution))
    return {"time": time, "path": image, "camera": camera}


def _intrinsics(where: str, values: dict[str, Any], width: int, height: int) -> Tensor:
    """Per-frame `fl_x`, `fl_y`, `cx`, `cy`, `w`, `h` where given, else `camera_angle_x`."""
    declared = tuple(
        _number(where, values, key) if key in values else size
        for key, size in (("w", width), ("h", height))
    )
    if declared != (width, height):
        raise InputError(
            f"{where}: the picture is {width}x{height} but its camera says {declared[0]:g}x{declared[1]:g}; "
            "resize the picture or correct w and h"
        )
    if "fl_x" in values:
        fx = _number(where, values, "fl_x")
    else:
        angle = _number(where, values, "camera_angle_x")
        fx = width / (2 * math.tan(angle / 2)) if 0 < angle < math.pi else math.nan
    fy = _number(where, values, "fl_y") if "fl_y" in values else fx
    if not (math.isfinite(fx) and math.isfinite(fy) and fx > 0 and fy > 0):
        raise InputError(f"{where}: focal lengths {fx}, {fy} are not positive; check fl_x or camera_angle_x")
    cx, cy = (
        _number(where, values, key) if key in values else size / 2
        for key, size in (("cx", width), ("cy", height))
    )
    if not (math.isfinite(cx) and math.isfinite(cy)):
        raise InputError(f"{where}: the principal point is {cx}, {cy}; correct cx and cy")
    return intrinsics(fx, fy, cx, cy)


def _number(where: str, values: dict[str, Any], key: str) -> float:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where}: {key!r} is {value!r}; expected a number")
    return float(value)


def _video(cameras: list[Camera]) -> list[Frame]:
    path = orbit(cameras, N_VIDEO_FRAMES, VIDEO_ELEVATION)
    return [Frame(camera, k, k / (N_VIDEO_FRAMES - 1)) for k, camera in enumerate(path)]


def _points(path: Path, cameras: list[Camera], params: ModelParams) -> PointCloud:
    """`fused.ply` where the folder has one, else random grey points in the cube all cameras look at.

    The cube is centred on the focus of the cameras; 0.9 of the half field of view at their median
    distance gives the published half-size of 1.3 for D-NeRF's own rig.
    """
    if (path / "fused.ply").is_file():
        return _usable(path / "fused.ply", read_points(path / "fused.ply"))
    center = focus(cameras)
    distance = torch.stack([(c.center - center).norm() for c in cameras]).median()
    half = 0.9 * float(distance) * math.tan(cameras[0].fov_x / 2)
    source = generator(0, "dnerf points")
    unit = 2 * torch.rand(params.init_points, 3, generator=source) - 1
    grey = 0.5 + 0.28 / 255 * torch.rand(params.init_points, 3, generator=source)
    return PointCloud(center + half * unit, grey)


def _usable(file: Path, points: PointCloud) -> PointCloud:
    if not len(points.xyz):
        raise InputError(f"{file}: it holds no points; write it again, or remove it to start from random points")
    bad = int((~torch.isfinite(points.xyz).all(1)).sum())
    if bad:
        raise InputError(f"{file}: {bad} of its {len(points.xyz)} points are not finite; remove them from the file")
    return points
