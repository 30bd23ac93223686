"""Folders of RGBA pictures of one subject from a camera that stands still: STAG4D's, with generated
views of other sides, and Consistent4D's, without (Zeng et al., "STAG4D", ECCV 2024; Jiang et al.,
"Consistent4D", ICLR 2024).

World: y up, the subject at the origin, the camera of the video on +z. No file says so: it is the
rig that Zero123++ draws its views for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from scene import Scene
from scene.cameras import Camera, intrinsics
from scene.datasets._files import common_size, pictures, require_pictures
from scene.datasets._moments import along, last_moments, time_of
from scene.datasets._points import grey
from scene.datasets._settings import HoldOut
from scene.frames import Frame, PointCloud
from scene.paths import look_at, orbit
from scene.world import Placed
from utils.errors import InputError
from utils.random import generator

LOOKED_FOR = "ref/*.png, or nothing but numbered pictures such as 0.png or 0_rgba.png"
SUFFIX = "_rgba"
RADIUS = 2.0  # world units from the camera to the subject
FOV_Y = math.radians(49.1)
# Of the anchors, in the order of their names; from +z towards +x, and above the horizon. Degrees.
AZIMUTHS = (30, 90, 150, 210, 270, 330)
ELEVATIONS = (30, -20, 30, -20, 30, -20)
BALL = 0.5  # radius of the random points, world units
UP = torch.tensor([0.0, 1.0, 0.0])
N_VIDEO_FRAMES = 120


@dataclass(frozen=True)
class DataParams(HoldOut):
    """How a folder of RGBA pictures is read."""


def recognise(path: Path) -> str:
    if (path / "ref").is_dir():
        return f"ref with {len(pictures(path / 'ref'))} pictures" if pictures(path / "ref") else ""
    found = pictures(path)
    others = [p for p in path.iterdir() if p not in found and not p.name.startswith(".")]
    if found and not others and all(_stem(p).isdigit() for p in found):
        return f"{len(found)} numbered pictures and nothing else"
    return ""


def read(path: Path, params: Placed, data: DataParams) -> Scene:
    """Read the folder; the anchors of a moment are frames of that moment with cameras of their own.

    No moment is held out unless `data.hold_out` says so.
    """
    folder = path / "ref" if (path / "ref").is_dir() else path
    images = require_pictures(folder, "the frames of the video, as 0_rgba.png")
    names = [_stem(image) for image in images]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise InputError(f"{folder}: frame {doubled!r} is there twice; keep one of its pictures")
    front = _camera(0, 0, *common_size(images), params)
    frames = [Frame(front, k, time_of(k, len(images)), image) for k, image in enumerate(images)]
    if (path / "zero123").is_dir():
        frames += _anchors(path / "zero123", frames, params)
    train, test = last_moments(frames, params, data)
    aside = _camera(90, 0, front.width, front.height, params)
    video = along(orbit([front, aside], N_VIDEO_FRAMES, 0.0, UP))
    return Scene(train, test, video, _ball(params.init_points))


def _stem(image: Path) -> str:
    return image.stem.removesuffix(SUFFIX)


def _anchors(zero123: Path, frames: list[Frame], params: Placed) -> list[Frame]:
    """The generated views of each frame of the video: folders named as its picture."""
    folders = [zero123 / frame.image_path.stem for frame in frames]
    views = [pictures(folder) for folder in folders]
    for folder, images in zip(folders, views, strict=True):
        if len(images) != len(AZIMUTHS):
            raise InputError(
                f"{folder}: it has {len(images)} pictures; expected the {len(AZIMUTHS)} "
                "generated views 0.png to 5.png"
            )
    size = common_size([image for images in views for image in images])
    cameras = [_camera(a, e, *size, params) for a, e in zip(AZIMUTHS, ELEVATIONS, strict=True)]
    return [
        Frame(camera, frame.index, frame.time, image, role="anchor")
        for frame, images in zip(frames, views, strict=True)
        for camera, image in zip(cameras, images, strict=True)
    ]


def _camera(azimuth: float, elevation: float, width: int, height: int, params: Placed) -> Camera:
    """A camera at RADIUS that looks at the origin; angles in degrees."""
    a, e = math.radians(azimuth), math.radians(elevation)
    place = torch.tensor([math.cos(e) * math.sin(a), math.sin(e), math.cos(e) * math.cos(a)])
    focal = height / (2 * math.tan(FOV_Y / 2))
    K = intrinsics(focal, focal, width / 2, height / 2)
    camera = Camera.from_opencv_w2c(look_at(RADIUS * place, torch.zeros(3), UP), K, width, height)
    return camera.at(params.resolution)


def _ball(count: int) -> PointCloud:
    """Random grey points in the ball that the cameras look at (STAG4D)."""
    source = generator(0, "points in a ball")
    direction = torch.nn.functional.normalize(torch.randn(count, 3, generator=source), dim=1)
    return grey(BALL * torch.rand(count, 1, generator=source) ** (1 / 3) * direction)
