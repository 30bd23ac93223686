"""UB4D folders, as Neural Parametric Gaussians reads them: a video with masks, and a projection
matrix of world points to pixels per frame, OpenCV axes (Johnson et al., "Unbiased 4D",
CVPRW 2023)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from scene import Scene
from scene.cameras import Camera
from scene.datasets._arrays import Arrays, read_arrays
from scene.datasets._entry import camera_of
from scene.datasets._files import common_size, pictures, require_pictures
from scene.datasets._moments import along, clock_of, last_moments
from scene.datasets._points import cube_in_view, usable_points
from scene.datasets._settings import HoldOut
from scene.frames import Frame, Mask, PointCloud
from scene.paths import common_up, orbit
from scene.world import Placed
from utils.errors import InputError

LOOKED_FOR = "projection_matrix.npz and a folder rgb"
MATRIX = "proj_mat_{}"
N_VIDEO_FRAMES = 120


@dataclass(frozen=True)
class DataParams(HoldOut):
    """How a UB4D folder is read."""


def recognise(path: Path) -> str:
    if (path / "projection_matrix.npz").is_file() and (path / "rgb").is_dir():
        return "projection_matrix.npz and rgb"
    return ""


def read(path: Path, params: Placed, data: DataParams) -> Scene:
    """Read the folder. No frame is held out unless `data.hold_out` says so."""
    images = {
        _number(image): image for image in require_pictures(path / "rgb", "the frames of the video")
    }
    masks = {_number(mask): mask for mask in pictures(path / "mask")}
    size = common_size(list(images.values()))
    matrices = read_arrays(path / "projection_matrix.npz")
    cameras = {k: _camera(matrices, k, size, params) for k in images}
    clock = clock_of({image: k for k, image in images.items()})
    frames = [
        Frame(cameras[k], row, clock(k), image, mask=_mask(path, masks, k, image))
        for row, (k, image) in enumerate(sorted(images.items()))
    ]
    train, test = last_moments(frames, params, data)
    video = _video(path, list(cameras.values()), size, params)
    return Scene(train, test, video, _points(path, [frame.camera for frame in train], params))


def _number(image: Path) -> int:
    if not re.fullmatch(r"\d{1,9}", image.stem):
        raise InputError(
            f"{image}: its name is not a number; pictures are named after their frame, as 0007.png"
        )
    return int(image.stem)


def _camera(matrices: Arrays, k: int, size: tuple[int, int], params: Placed) -> Camera:
    key = MATRIX.format(k)
    P = matrices.tensor(key, (3, 4))
    with camera_of(f"{matrices.file}: array {key!r}", "write it again"):
        return Camera.from_projection(params.world.seen(P), *size).at(params.resolution)


def _mask(path: Path, masks: dict[int, Path], k: int, image: Path) -> Mask | None:
    if not masks:
        return None
    if k not in masks:
        raise InputError(
            f"{path / 'mask'}: it has no mask for {image.name}; add it, or remove the folder"
        )
    return Mask(masks[k])


def _video(path: Path, cameras: list[Camera], size: tuple[int, int], params: Placed) -> list[Frame]:
    """Time runs along the folder's own novel cameras, or once about the subject."""
    file = path / "novel_projection_matrix.npz"
    if file.is_file():
        matrices = read_arrays(file)
        return along([_camera(matrices, k, size, params) for k in range(len(matrices.values))])
    return along(orbit(cameras, N_VIDEO_FRAMES, 0.0, common_up(cameras)))


def _points(path: Path, cameras: list[Camera], params: Placed) -> PointCloud:
    """The first cloud of NPG's first stage, or random points where all cameras look."""
    clouds = sorted((path / "pt_cld").glob("*.ply"))
    if clouds:
        return usable_points(clouds[0], params.world)
    return cube_in_view(cameras, params.init_points)
