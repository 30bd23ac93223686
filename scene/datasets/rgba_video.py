"""Folders of RGBA pictures of one subject from a camera that stands still: STAG4D's, with generated
views of other sides, and Consistent4D's, without (Zeng et al., "STAG4D", ECCV 2024; Jiang et al.,
"Consistent4D", ICLR 2024).

World: y up, the subject at the origin, the camera of the video on +z. Generated views stand where
`zero123/cameras.json` says; without it they are the six of Zero123++ v1.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from arguments.settings import at_least, between, setting
from scene import Scene
from scene.cameras import Camera, intrinsics
from scene.datasets._entry import Entry, camera_of, read_object
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
ANCHORS = "zero123"  # folder of the generated views, one folder a moment
CAMERAS = "cameras.json"  # in it, where others than Zero123++ made them
# Of Zero123++ v1.1, in the order of their names: from +z towards +x, above the horizon; degrees.
AZIMUTHS = (30, 90, 150, 210, 270, 330)
ELEVATIONS = (30, -20, 30, -20, 30, -20)
BALL = 0.25  # radius of the random points, in distances of the camera
UP = torch.tensor([0.0, 1.0, 0.0])
N_VIDEO_FRAMES = 120


@dataclass(frozen=True)
class DataParams(HoldOut):
    """How a folder of RGBA pictures is read."""

    size: int = setting(
        0, "frames of the video that are read, from its first; 0: all", valid=at_least(0)
    )
    elevation: float = setting(
        0.0,
        "degrees that the video's camera is below the subject; negative: above (STAG4D's sign)",
        valid=between(-80, 80),
    )
    radius: float = setting(
        2.0, "from the video's camera to the subject, world units", valid=between(0.1, 40)
    )
    fovy: float = setting(
        49.1,
        "vertical field of view of all views that no file tells, degrees",
        valid=between(1, 150),
    )
    held_out_anchors: list[int] = setting(
        [], "generated views, by their number, that test and are not trained on", valid=at_least(0)
    )


def recognise(path: Path) -> str:
    if (path / "ref").is_dir():
        return f"ref with {len(pictures(path / 'ref'))} pictures" if pictures(path / "ref") else ""
    found = pictures(path)
    known = {*found, path / ANCHORS}
    others = [p for p in path.iterdir() if p not in known and not p.name.startswith(".")]
    if found and not others and all(_stem(p).isdigit() for p in found):
        return f"{len(found)} numbered pictures and nothing else"
    return ""


def read(path: Path, params: Placed, data: DataParams) -> Scene:
    """Read the folder; the anchors of a moment are frames of that moment with cameras of their own.

    No moment is held out unless `data.hold_out` says so, no side unless `data.held_out_anchors`
    does.
    """
    images = _video(path, data)
    size = common_size(images)
    front = _seen_from(0, -data.elevation, data.radius, data.fovy, size, params)
    frames = [Frame(front, k, time_of(k, len(images)), image) for k, image in enumerate(images)]
    anchors: list[Frame] = []
    if (path / ANCHORS).is_dir():
        anchors = _anchors(path / ANCHORS, frames, params, data)
    held_out = {id(f) for f in _held_out(anchors, len(frames), path / ANCHORS, data)}
    train, test = last_moments(frames + anchors, params, data)
    test += [f for f in train if id(f) in held_out]
    if params.eval:
        train = [f for f in train if id(f) not in held_out]
    aside = _seen_from(90, 0, data.radius, data.fovy, size, params)
    video = along(orbit([front, aside], N_VIDEO_FRAMES, 0.0, UP))
    return Scene(train, test, video, _ball(params.init_points, BALL * data.radius))


def _video(path: Path, data: DataParams) -> list[Path]:
    folder = path / "ref" if (path / "ref").is_dir() else path
    images = require_pictures(folder, "the frames of the video, as 0_rgba.png")
    names = [_stem(image) for image in images]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise InputError(f"{folder}: frame {doubled!r} is there twice; keep one of its pictures")
    if data.size > len(images):
        raise InputError(
            f"{folder}: size={data.size}, but there are {len(images)} frames; --size 0 takes all"
        )
    return images[: data.size or len(images)]


def _stem(image: Path) -> str:
    return image.stem.removesuffix(SUFFIX)


@dataclass(frozen=True)
class Side:
    """Where a generated view stands, and the name of its picture in a moment's folder; none: by
    its place in natural order."""

    name: str
    entry: Entry | None  # of cameras.json
    azimuth: float = 0.0
    elevation: float = 0.0  # above the horizon

    def camera(self, size: tuple[int, int], params: Placed, data: DataParams) -> Camera:
        if self.entry is None:
            return _seen_from(self.azimuth, self.elevation, data.radius, data.fovy, size, params)
        fovy = self.entry.number("fovy", data.fovy)
        if not 1 <= fovy <= 150:
            raise InputError(f"{self.entry.where}: 'fovy' is {fovy:g}; expected 1 to 150 degrees")
        if "transform_matrix" in self.entry:
            K = _lens(fovy, size)
            camera = self.entry.camera("transform_matrix", Camera.from_opengl_c2w, K, size)
            return camera.at(params.resolution)
        azimuth, elevation = self.entry.number("azimuth"), self.entry.number("elevation")
        radius = self.entry.number("radius", data.radius)
        with camera_of(self.entry.where, "mend or remove it"):
            if not (abs(elevation) < 90 and radius > 0):
                raise ValueError(f"elevation {elevation:g}, radius {radius:g}")
            return _seen_from(azimuth, elevation, radius, fovy, size, params)


def _sides(folder: Path) -> list[Side]:
    """The views of every moment, as `cameras.json` lists them."""
    file = folder / CAMERAS
    if not file.is_file():
        return [Side("", None, a, e) for a, e in zip(AZIMUTHS, ELEVATIONS, strict=True)]
    return [Side(entry.text("file_path"), entry) for entry in read_object(file).objects("frames")]


def _anchors(folder: Path, frames: list[Frame], params: Placed, data: DataParams) -> list[Frame]:
    """The generated views of each frame of the video: folders named as its picture."""
    sides = _sides(folder)
    views = [_pictures_of(folder / frame.image_path.stem, sides) for frame in frames]
    cameras = []
    for k, side in enumerate(sides):
        cameras.append(side.camera(common_size([images[k] for images in views]), params, data))
    return [
        Frame(camera, frame.index, frame.time, image, role="anchor")
        for frame, images in zip(frames, views, strict=True)
        for camera, image in zip(cameras, images, strict=True)
    ]


def _pictures_of(folder: Path, sides: list[Side]) -> list[Path]:
    """A moment's generated views, one for each side."""
    if not sides[0].name:
        images = pictures(folder)
        if len(images) != len(sides):
            raise InputError(
                f"{folder}: it has {len(images)} pictures; expected the {len(sides)} generated "
                f"views 0.png to 5.png, or those that a {CAMERAS} beside the folder lists"
            )
        return images
    images = [folder / Path(side.name).name for side in sides]
    for image in images:
        if not image.is_file():
            raise InputError(
                f"{image}: no such file; {folder.parent / CAMERAS} lists it for every moment"
            )
    return images


def _held_out(anchors: list[Frame], n_moments: int, folder: Path, data: DataParams) -> list[Frame]:
    """The anchors of the sides that test."""
    n_sides = len(anchors) // n_moments
    wrong = [k for k in data.held_out_anchors if k >= n_sides]
    if wrong:
        raise InputError(
            f"{folder}: held_out_anchors names view {wrong[0]}; there are {n_sides} of a moment, "
            "counted from 0"
        )
    return [f for k, f in enumerate(anchors) if k % n_sides in data.held_out_anchors]


def _seen_from(
    azimuth: float, elevation: float, radius: float, fovy: float, size: tuple[int, int],
    params: Placed,
) -> Camera:  # fmt: skip
    """A camera that looks at the origin; `azimuth` from +z to +x, `elevation` above, degrees."""
    a, e = math.radians(azimuth), math.radians(elevation)
    place = torch.tensor([math.cos(e) * math.sin(a), math.sin(e), math.cos(e) * math.cos(a)])
    viewmat = look_at(radius * place, torch.zeros(3), UP)
    camera = Camera.from_opencv_w2c(viewmat, _lens(fovy, size), *size)
    return camera.at(params.resolution)


def _lens(fovy: float, size: tuple[int, int]) -> Tensor:
    width, height = size
    focal = height / (2 * math.tan(math.radians(fovy) / 2))
    return intrinsics(focal, focal, width / 2, height / 2)


def _ball(count: int, radius: float) -> PointCloud:
    """Random grey points in the ball that the cameras look at (STAG4D)."""
    source = generator(0, "points in a ball")
    direction = torch.nn.functional.normalize(torch.randn(count, 3, generator=source), dim=1)
    return grey(radius * torch.rand(count, 1, generator=source) ** (1 / 3) * direction)
