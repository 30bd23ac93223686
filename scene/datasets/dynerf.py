"""DyNeRF / Neu3D folders: a rig of synchronised cameras, `poses_bounds.npy` with a row of 17
numbers per camera in LLFF's form, and a video or a folder of pictures for each (Li et al.,
"Neural 3D Video Synthesis", CVPR 2022)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import cv2
from torch import Tensor
from tqdm import tqdm

from scene import Scene
from scene.cameras import Camera, intrinsics, target_size
from scene.datasets._arrays import read_arrays
from scene.datasets._entry import camera_of
from scene.datasets._files import common_size, natural, pictures, require_pictures
from scene.datasets._moments import along, time_of
from scene.datasets._points import points_in_view, usable_points
from scene.frames import Frame, PointCloud
from scene.paths import tour
from scene.world import Placed, World
from utils.errors import InputError
from utils.video_frames import extract_frames, frame_rate

LOOKED_FOR = "poses_bounds.npy and cam*.mp4 or cam*/images"
POSE_FILES = ("poses_bounds.npy", "poses_bounds_multipleview.npy")  # the latter: 4DGaussians' own
POINT_FILES = (
    "points3D_downsample2.ply", "points3D.ply", "points3d.ply", "points3D_multipleview.ply",
)  # fmt: skip
MAX_STRETCH = 0.01  # between width and height, of pictures that were resized before
N_VIDEO_FRAMES = 300


@dataclass(frozen=True)
class DataParams:
    """A DyNeRF folder leaves nothing to choose."""


def recognise(path: Path) -> str:
    if _poses_file(path).is_file() and _names(path):
        return f"{_poses_file(path).name} and {len(_names(path))} cameras cam*"
    return ""


@dataclass(frozen=True)
class Rig:
    """The cameras of a folder at the size of their calibration."""

    cameras: dict[str, Camera]  # by name, in the order of the rows of poses_bounds.npy
    near: float  # world units
    far: float


@dataclass(frozen=True)
class Video:
    """A camera's video, and the folder that its pictures go to, at most width x height each."""

    file: Path
    folder: Path
    width: int
    height: int
    camera: Camera  # as calibrated

    def misfit(self) -> str:
        """What is wrong with the shape of its pictures, turned as the file says; else nothing."""
        capture = cv2.VideoCapture(str(self.file), cv2.CAP_FFMPEG)
        good, first = capture.read()
        capture.release()
        if not good:
            return ""
        (height, width), wanted = first.shape[:2], self.camera
        if abs(width * wanted.height / (height * wanted.width) - 1) <= MAX_STRETCH:
            return ""
        return (
            f"{self.file}: it has {width}x{height} pixels when upright, the rig was calibrated for "
            f"another shape, {wanted.width}x{wanted.height}; turn the video or calibrate again"
        )


def read(path: Path, params: Placed, data: DataParams) -> Scene:
    """Read the folder; the first camera is the test camera.

    Videos without a folder of pictures are extracted first, once for each size that
    `params.resolution` asks for, beside the output.
    """
    rig = read_rig(path, params.world)
    videos = videos_of(path, rig, params)
    _extract(list(videos.values()))
    views = {
        name: _read_view(
            camera, videos[name].folder if name in videos else _pictures(path, name), params
        )
        for name, camera in rig.cameras.items()
    }
    if len({len(view) for view in views.values()}) > 1:
        counts = ", ".join(f"{name} {len(view)}" for name, view in views.items())
        raise InputError(
            f"{path}: the cameras have different numbers of pictures ({counts}); a rig is "
            "synchronised"
        )
    test, *others = views.values()
    train = [frame for view in others for frame in view]
    if not params.eval or not train:
        train = test + train
    cameras = [view[0].camera for view in views.values()]
    video, points = along(tour(cameras, N_VIDEO_FRAMES)), _points(path, cameras, params, rig)
    rates = map(frame_rate, _videos(path).values())
    return Scene(train, test, video, points, fps=next(rates, None) or Scene.fps)


def read_rig(path: Path, world: World) -> Rig:
    """What poses_bounds.npy says of the folder's cameras."""
    names = _names(path)
    if not names:
        raise InputError(f"{path}: no camera found; expected cam00.mp4 or cam00/images, cam01...")
    file = _poses_file(path)
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
    rows = enumerate(poses[:, :15].reshape(-1, 3, 5))
    cameras = [_camera(f"{file}: row {row}", values, world) for row, values in rows]
    cameras = dict(zip(names, cameras, strict=True))
    return Rig(cameras, near / world.unit, far / world.unit)


def _names(path: Path) -> list[str]:
    """cam00, cam01, ... of videos and of folders with pictures."""
    found = {
        p.name
        for p in path.iterdir()
        if p.name.lower().startswith("cam") and ((p / "images").is_dir() or pictures(p))
    }
    return sorted(found | set(_videos(path)), key=natural)


def _videos(path: Path) -> dict[str, Path]:
    """The videos by their camera's name, in order."""
    found = [p for p in path.iterdir() if re.fullmatch(r"cam.*\.mp4", p.name, re.IGNORECASE)]
    return {p.stem: p for p in sorted(found, key=lambda p: natural(p.stem))}


def _poses_file(path: Path) -> Path:
    return next((path / n for n in POSE_FILES if (path / n).is_file()), path / POSE_FILES[0])


def _pictures(path: Path, name: str) -> Path:
    """Where a camera's pictures are; 4DGaussians has no folder images."""
    images = path / name / "images"
    return path / name if not images.is_dir() and pictures(path / name) else images


def _camera(where: str, values: Tensor, world: World) -> Camera:
    """The camera of a row (3, 5): LLFF's pose, and a column of height, width, focal length."""
    height, width, focal = values[:, 4].tolist()
    if not (1 <= height < 1e5 and 1 <= width < 1e5):
        raise InputError(f"{where} says {width:g}x{height:g} pixels; expected a picture's size")
    height, width = round(height), round(width)
    with camera_of(where, "calibrate the rig again"):
        K = intrinsics(focal, focal, width / 2, height / 2)
        return Camera.from_llff(world.held(values[:, :4]), K, width, height)


def videos_of(path: Path, rig: Rig, params: Placed) -> dict[str, Video]:
    """The videos, by camera, that stand for pictures which the folder does not have itself."""
    found, files = {}, _videos(path)
    for name, camera in rig.cameras.items():
        if pictures(_pictures(path, name)):
            continue
        if name not in files:
            raise InputError(
                f"{path / name / 'images'}: no PNG or JPEG file here, and no video {name}.mp4; "
                "each camera needs one of them"
            )
        size = target_size(camera.width, camera.height, params.resolution)
        found[name] = Video(files[name], _folder(files[name], size, params), *size, camera)
    return found


def _folder(file: Path, size: tuple[int, int], params: Placed) -> Path:
    """Where the pictures of a video go: nobody writes into a dataset, and no size is mistaken."""
    known = file.stat()
    words = f"{file.resolve()} {known.st_size} {known.st_mtime_ns} {size}"
    key = f"{file.stem}_{size[0]}x{size[1]}_{sha256(words.encode()).hexdigest()[:16]}"
    beside = Path(params.model_path).parent if params.model_path else Path("output")
    return beside / "video_frames" / key


def _extract(videos: list[Video]) -> None:
    missing = [video for video in videos if not video.folder.is_dir()]
    for misfit in filter(None, (video.misfit() for video in missing)):
        raise InputError(misfit)
    bar = tqdm(missing, unit="camera", disable=not missing)
    for video in bar:
        size = f"{video.width}x{video.height}"
        bar.set_description(f"extracting {video.file.name} at {size} or its own size")
        extract_frames(video.file, video.folder, video.width, video.height)


def _read_view(camera: Camera, folder: Path, params: Placed) -> list[Frame]:
    """The frames of one camera."""
    paths = require_pictures(folder, "the frames of a video")
    camera = _fitted(camera, paths, params)
    return [Frame(camera, k, time_of(k, len(paths)), image) for k, image in enumerate(paths)]


def _fitted(camera: Camera, paths: list[Path], params: Placed) -> Camera:
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


def _points(path: Path, cameras: list[Camera], params: Placed, rig: Rig) -> PointCloud:
    for name in POINT_FILES:
        if (path / name).is_file():
            return usable_points(path / name, params.world)
    return points_in_view(cameras, params.init_points, near=rig.near, far=rig.far)
