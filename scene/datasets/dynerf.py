"""DyNeRF / Neu3D folders: a rig of synchronised cameras, `poses_bounds.npy` with a row of 17
numbers per camera in LLFF's form, and a video or a folder of pictures for each (Li et al.,
"Neural 3D Video Synthesis", CVPR 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from scene import Scene
from scene.cameras import Camera, intrinsics, target_size
from scene.datasets._arrays import read_arrays
from scene.datasets._entry import camera_of
from scene.datasets._files import common_size, natural, pictures, require_pictures
from scene.datasets._moments import along, time_of
from scene.datasets._points import points_in_view, usable_points
from scene.datasets._rig_videos import MAX_STRETCH, extract, pictures_folder, video_files, videos_of
from scene.frames import Frame, PointCloud
from scene.paths import tour
from scene.world import Placed, World
from utils.errors import InputError
from utils.video_frames import frame_rate

LOOKED_FOR = "poses_bounds.npy and cam*.mp4 or cam*/images"
POSE_FILES = ("poses_bounds.npy", "poses_bounds_multipleview.npy")  # the latter: 4DGaussians' own
POINT_FILES = (
    "points3D_downsample2.ply", "points3D.ply", "points3d.ply", "points3D_multipleview.ply",
)  # fmt: skip
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


def read(path: Path, params: Placed, data: DataParams) -> Scene:
    """Read the folder; the first camera is the test camera.

    Videos without a folder of pictures are extracted first, once for each size that
    `params.resolution` asks for, beside the output.
    """
    rig = read_rig(path, params.world)
    videos = videos_of(path, rig.cameras, params)
    extract(list(videos.values()))
    views = {
        name: _read_view(
            camera, videos[name].folder if name in videos else pictures_folder(path, name), params
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
    rates = map(frame_rate, video_files(path).values())
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
    return sorted(found | set(video_files(path)), key=natural)


def _poses_file(path: Path) -> Path:
    return next((path / n for n in POSE_FILES if (path / n).is_file()), path / POSE_FILES[0])


def _camera(where: str, values: Tensor, world: World) -> Camera:
    """The camera of a row (3, 5): LLFF's pose, and a column of height, width, focal length."""
    height, width, focal = values[:, 4].tolist()
    if not (1 <= height < 1e5 and 1 <= width < 1e5):
        raise InputError(f"{where} says {width:g}x{height:g} pixels; expected a picture's size")
    height, width = round(height), round(width)
    with camera_of(where, "calibrate the rig again"):
        K = intrinsics(focal, focal, width / 2, height / 2)
        return Camera.from_llff(world.held(values[:, :4]), K, width, height)


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
        if (path / name).exists():
            return usable_points(path / name, params.world)
    return points_in_view(cameras, params.init_points, near=rig.near, far=rig.far)
