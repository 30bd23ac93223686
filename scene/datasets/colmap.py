"""A video whose frames COLMAP posed: `sparse/0` (binary or text) and a folder of pictures, as 3DGS
and 4DGS read them. Poses are world-to-camera with OpenCV axes; pixel centres lie at .5."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch

from arguments.settings import at_least, setting
from scene import Scene
from scene.cameras import Camera, intrinsics, target_size
from scene.datasets._colmap import (
    SUFFIXES,
    Shot,
    View,
    model_file,
    read_cloud,
    read_shots,
    read_views,
)
from scene.datasets._entry import camera_of
from scene.datasets._files import natural, pictures
from scene.datasets._moments import along, time_of
from scene.datasets._points import checked_points, cube_in_view, usable_points
from scene.datasets._rigs import rows_by_name
from scene.frames import Frame, Lens, PointCloud
from scene.paths import tour
from scene.world import Placed
from utils.errors import InputError
from utils.images import image_size
from utils.rotations import quats_to_matrices

LOOKED_FOR = "sparse/0 with cameras.bin or cameras.txt"
RATIOS = (2, 4, 8)  # of the folders images_2, images_4, images_8
N_VIDEO_FRAMES = 120


@dataclass(frozen=True)
class DataParams:
    """How a COLMAP folder is read."""

    images: str = setting("images", "folder of the pictures")
    llffhold: int = setting(
        8, "every so many pictures one is a test frame; 0 holds none out", valid=at_least(0)
    )

    short_flags: ClassVar[dict[str, str]] = {"images": "-i"}


def recognise(path: Path) -> str:
    sparse = _sparse(path)
    if any((sparse / f"cameras{suffix}").is_file() for suffix in (".bin", ".txt")):
        return f"{sparse.relative_to(path)} with a COLMAP model"
    return ""


def read(path: Path, params: Placed, data: DataParams) -> Scene:
    """Read the folder; `-r 2` takes the pictures of images_2 where they are there.

    Time is the place of a name among the folder's pictures in natural order, so that frames COLMAP
    could not pose leave a gap and do not shift the others; a rig's pictures of one moment share it.
    Every `data.llffhold`-th picture tests.
    """
    sparse = _sparse(path)
    file = model_file(sparse, "images")
    shots = sorted(read_shots(file), key=lambda shot: natural(shot.name))
    if not shots:
        raise InputError(f"{file}: it has no posed images; export the sparse model again")
    views = read_views(model_file(sparse, "cameras"))
    folder = _pictures(path, params.resolution, data.images)
    poses = {shot.name: (*shot.quat, *shot.translation) for shot in shots}
    rows = rows_by_name(sorted({*_names(folder), *poses}), poses)
    count = 1 + max(rows.values())
    if len(shots) > len({shot.name for shot in shots}):
        raise InputError(f"{file}: it poses an image twice; export the sparse model again")
    frames = [
        replace(
            _read_frame(file, folder / shot.name, shot, views, params),
            index=rows[shot.name],
            time=time_of(rows[shot.name], count),
        )
        for shot in shots
    ]
    hold = data.llffhold
    test = frames[::hold] if hold else []
    train = (
        [frame for k, frame in enumerate(frames) if k % hold] if hold and params.eval else frames
    )
    video = along(tour([frame.camera for frame in train], N_VIDEO_FRAMES))
    return Scene(train, test, video, _points(sparse, [frame.camera for frame in train], params))


def _points(sparse: Path, cameras: list[Camera], params: Placed) -> PointCloud:
    """COLMAP's points, else those that 3DGS made of them, else random ones."""
    if not any((sparse / f"points3D{suffix}").is_file() for suffix in SUFFIXES):
        file = sparse / "points3D.ply"
        if file.is_file():
            return usable_points(file, params.world)
        return cube_in_view(cameras, params.init_points)
    file = model_file(sparse, "points3D")
    xyz, rgb = read_cloud(file)
    return checked_points(file, params.world.own(xyz), rgb)


def _sparse(path: Path) -> Path:
    return path / "sparse" / "0" if (path / "sparse" / "0").is_dir() else path / "sparse"


def _pictures(path: Path, resolution: int, images: str) -> Path:
    smaller = path / f"{images}_{resolution}"
    folder = smaller if resolution in RATIOS and smaller.is_dir() else path / images
    if not folder.is_dir():
        raise InputError(
            f"{folder}: there is no such folder; name the one with the pictures with --images"
        )
    return folder


def _names(folder: Path) -> list[str]:
    """Pictures of the folder and of the folders in it, as COLMAP names them."""
    inside = [p for p in folder.iterdir() if p.is_dir()]
    found = [image for place in [folder, *inside] for image in pictures(place)]
    return [image.relative_to(folder).as_posix() for image in found]


def _read_frame(
    file: Path, image: Path, shot: Shot, views: dict[int, View], params: Placed
) -> Frame:
    """The frame without its moment."""
    if shot.camera not in views:
        raise InputError(
            f"{file}: image {shot.name!r} has camera {shot.camera}, which the model lacks; "
            "export it again"
        )
    view = views[shot.camera]
    width, height = image_size(image)
    # Smaller copies are rounded to whole pixels on each side.
    if abs(width * view.height - height * view.width) > max(view.width, view.height):
        raise InputError(
            f"{image}: it has {width}x{height} pixels, but COLMAP calibrated "
            f"{view.width}x{view.height}; "
            "give the pictures that COLMAP saw, or smaller copies of the same shape"
        )
    w2c = torch.eye(4, dtype=torch.float64)
    w2c[:3, :3] = quats_to_matrices(torch.tensor(shot.quat, dtype=torch.float64))
    w2c[:3, 3] = torch.tensor(shot.translation, dtype=torch.float64)
    with camera_of(f"{file}: image {shot.name!r}", "export the sparse model again"):
        w2c, K = params.world.seen(w2c), intrinsics(*view.K)
        camera = Camera.from_opencv_w2c(w2c, K, view.width, view.height)
    camera = camera.resized(width, height)
    lens = _lens(camera, view)
    wanted = target_size(view.width, view.height, params.resolution)
    # A copy of that size may be rounded otherwise.
    if params.resolution != -1 and wanted[0] < width - 1:
        camera = camera.resized(*wanted)
    return Frame(camera, 0, 0.0, image, lens=lens)


def _lens(camera: Camera, view: View) -> Lens | None:
    if not any(view.coefficients):
        return None
    K = camera.K.tolist()
    return Lens((K[0][0], K[1][1], K[0][2], K[1][2]), view.coefficients)
