"""DyNeRF / Neu3D folders: a rig of synchronised cameras, `poses_bounds.npy` with a row of 17
numbers per camera in LLFF's form, and a video or a folder of pictures for each (Li et al., "Neural 3D
Video Synthesis", CVPR 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor
from tqdm import tqdm

from scene import Scene
from scene.cameras import Camera, intrinsics, target_size
from scene.datasets._arrays import read_arrays
from scene.datasets._entry import camera_of
from scene.datasets._files import common_size, natural, pictures
from scene.datasets._moments import along, time_of
from scene.datasets._points import points_in_view, usable_points
from scene.frames import Frame, PointCloud
from scene.paths import tour
from utils.errors import InputError
from utils.video_frames import extract_frames

if TYPE_CHECKING:
    from arguments.settings import ModelParams

LOOKED_FOR = "poses_bounds.npy and cam*.mp4 or cam*/images"
POINT_FILES = ("points3D_downsample2.ply", "points3D.ply", "points3d.ply")
MAX_STRETCH = 0.01  # between width and height, of pictures that were resized before
N_VIDEO_FRAMES = 300


@dataclass(frozen=True)
class DataParams:
    """A DyNeRF folder leaves nothing to choose."""


def recognise(path: Path) -> str:
    if (path / "poses_bounds.npy").is_file() and _names(path):
        return f"poses_bounds.npy and {len(_names(path))} cameras cam*"
    return ""


def read(path: Path, params: ModelParams, data: DataParams) -> Scene:
    """Read the folder; the first camera is the test camera.

    Videos without a folder of pictures are extracted first, once, at the size that
    `params.resolution` asks for, or theirs if that is smaller.
    """
    names = _names(path)
    if not names:
        raise InputError(f"{path}: no camera found; expected cam00.mp4 or cam00/images, cam01...")
    file = path / "poses_bounds.npy"
    poses = read_arrays(file).tensor("", (-1, 17))
    if len(poses) != len(names):
        raise InputError(
            f"{file}: it has {len(poses)} rows, but the folder has {len(names)} cameras "
            f"({names[0]} to {names[-1]}); each camera needs its row"
        )
    near, far = float(poses[:, 15].min()), float(poses[:, 16].max())
    if not 0 < near < far:
        raise InputError(
            f"{file}: near is {near:g} and far {far:g}; expected 0 < near < far in the last two "
            "columns"
        )
    _extract(path, names, file, poses, params)
    views = [
        _read_camera(path / name / "images", file, row, poses, params)
        for row, name in enumerate(names)
    ]
    short = min(views, key=len)
    if len(short) < len(views[0]) or len(max(views, key=len)) > len(views[0]):
        counts = ", ".join(f"{name} {len(view)}" for name, view in zip(names, views, strict=True))
        raise InputError(
            f"{path}: the cameras have different numbers of pictures ({counts}); a rig is "
            "synchronised"
        )
    test, train = views[0], [frame for view in views[1:] for frame in view]
    if not params.eval or not train:
        train = test + train
    cameras = [view[0].camera for view in views]
    video = along(tour(cameras, N_VIDEO_FRAMES))
    return Scene(train, test, video, _points(path, cameras, params, near, far))


def _names(path: Path) -> list[str]:
    """cam00, cam01, ... of videos and of folders with pictures."""
    found = {p.stem for p in path.glob("cam*.mp4")} | {
        p.parent.name for p in path.glob("cam*/images")
    }
    return sorted(found, key=natural)


def _extract(path: Path, names: list[str], file: Path, poses: Tensor, params: ModelParams) -> None:
    missing = [name for name in names if not pictures(path / name / "images")]
    bar = tqdm(missing, unit="camera", disable=not missing)
    for name in bar:
        height, width, _ = _size(file, names.index(name), poses)
        size = target_size(width, height, params.resolution)
        bar.set_description(f"extracting {name}.mp4 at {size[0]}x{size[1]} or its own size")
        extract_frames(path / f"{name}.mp4", path / name / "images", *size)


def _size(file: Path, row: int, poses: Tensor) -> tuple[int, int, float]:
    """Height, width and focal length in pixels as the rig was calibrated."""
    height, width, focal = poses[row, [4, 9, 14]].tolist()
    if not (1 <= height < 1e5 and 1 <= width < 1e5):
        raise InputError(
            f"{file}: row {row} says {width:g}x{height:g} pixels; expected a picture's size"
        )
    return round(height), round(width), focal


def _read_camera(
    folder: Path, file: Path, row: int, poses: Tensor, params: ModelParams
) -> list[Frame]:
    """The frames of one camera."""
    height, width, focal = _size(file, row, poses)
    with camera_of(f"{file}: row {row}", "calibrate the rig again"):
        K = intrinsics(focal, focal, width / 2, height / 2)
        camera = Camera.from_llff(poses[row, :15].reshape(3, 5)[:, :4], K, width, height)
    paths = pictures(folder)
    camera = _fitted(camera, paths, params)
    return [Frame(camera, k, time_of(k, len(paths)), image) for k, image in enumerate(paths)]


def _fitted(camera: Camera, paths: list[Path], params: ModelParams) -> Camera:
    """The camera at the size that is wanted, at most the size of its pictures.

    The size is taken of the calibrated one, so that 2 means the same for full and halved pictures.
    """
    width, height = common_size(paths)
    if abs(width * camera.height / (height * camera.width) - 1) > MAX_STRETCH:
        raise InputError(
            f"{paths[0]}: it has {width}x{height} pixels, but poses_bounds.npy says "
            f"{camera.width}x{camera.height}; another shape than the rig was calibrated for"
        )
    wanted = target_size(camera.width, camera.height, params.resolution)
    return camera.resized(
        *(wanted if params.resolution != -1 and wanted[0] < width else (width, height))
    )


def _points(
    path: Path, cameras: list[Camera], params: ModelParams, near: float, far: float
) -> PointCloud:
    for name in POINT_FILES:
        if (path / name).is_file():
            return usable_points(path / name)
    return points_in_view(cameras, params.init_points, near=near, far=far)
