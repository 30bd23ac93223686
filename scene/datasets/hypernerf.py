"""HyperNeRF / Nerfies folders: one camera file per picture, world-to-camera rotations with OpenCV
axes (Park et al., "Nerfies", ICCV 2021; "HyperNeRF", SIGGRAPH Asia 2021).

`scene.json` says how raw positions become the scene's: (x - center) * scale. Cameras and points
both go that way, so that near and far, given in the scene's units, fit them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from arguments.settings import setting
from scene import Scene
from scene.cameras import Camera, intrinsics, target_size
from scene.datasets._arrays import read_arrays
from scene.datasets._entry import Entry, camera_of, read_object
from scene.datasets._moments import along, clock_of, rows_of
from scene.datasets._points import checked_points, points_in_view
from scene.frames import Frame, Lens, Mask, PointCloud
from scene.paths import tour
from scene.world import Placed, World
from utils.errors import InputError
from utils.files import user_path
from utils.images import image_size
from utils.ply import read_points

LOOKED_FOR = "dataset.json, metadata.json and a folder camera"
RATIOS = (1, 2, 4, 8, 16)  # of the folders rgb/1x, rgb/2x, ...
POINT_FILES = ("points3D_downsample2.ply", "points3D_downsample.ply", "points3D.ply")
MAX_SKEW = 1e-3  # pixels; the pinhole that everything is drawn with has none
INTERPOLATION = 4  # every fourth frame trains and the one between two of these tests (HyperNeRF)
N_VIDEO_FRAMES = 120


@dataclass(frozen=True)
class Space:
    """From raw positions to the scene's: (x - center) * scale; near and far in scene units."""

    center: Tensor  # (3,) float64
    scale: float
    near: float
    far: float
    world: World  # where that space lies

    def __call__(self, xyz: Tensor) -> Tensor:
        """Raw positions (..., 3) as the scene has them, float64."""
        return self.world.own((xyz.double() - self.center) * self.scale)


@dataclass(frozen=True)
class Capture:
    """What all frames of a folder share."""

    path: Path
    pictures: Path  # rgb/1x, rgb/2x, ...
    ratio: int  # by which these are smaller than the cameras say
    space: Space
    resolution: int
    masks: Path | None = None


@dataclass(frozen=True)
class DataParams:
    """How a HyperNeRF folder is read."""

    mask_folder: str = setting(
        "",
        "folder of masks of the subject, each named as its frame, of its picture's size; the rest "
        "of the pictures counts as empty",
        is_path=True,
    )


def recognise(path: Path) -> str:
    if (
        (path / "dataset.json").is_file()
        and (path / "metadata.json").is_file()
        and (path / "camera").is_dir()
    ):
        return "dataset.json, metadata.json and camera/*.json"
    return ""


def read(path: Path, params: Placed, data: DataParams) -> Scene:
    """Read the folder; `-r 2` takes the pictures of rgb/2x where they are there."""
    dataset = read_object(path / "dataset.json")
    ids = _ids(dataset, "ids")
    train_ids, test_ids = _splits(dataset, ids)
    moments = _moments(path / "metadata.json", ids)
    rows, clock = (
        rows_of(moments.values()),
        clock_of(
            {
                f"{path / 'metadata.json'}: frame {name!r}": moment
                for name, moment in moments.items()
            }
        ),
    )
    space = _space(path / "scene.json", params.world)
    pictures = _pictures(path / "rgb", params.resolution)
    masks = user_path(data.mask_folder) if data.mask_folder else None
    capture = Capture(path, *pictures, space, params.resolution, masks)
    frames = {
        name: _read_frame(capture, name, rows[moments[name]], clock(moments[name]))
        for name in [*train_ids, *test_ids]
    }
    train, test = ([frames[name] for name in names] for names in (train_ids, test_ids))
    if not params.eval:
        train = train + test
    cameras = [frame.camera for frame in train]
    video = along(tour(cameras, N_VIDEO_FRAMES))
    return Scene(train, test, video, _points(path, cameras, space, params))


def _ids(dataset: Entry, key: str) -> list[str]:
    found = dataset.values.get(key)
    if not isinstance(found, list) or not all(isinstance(name, str) and name for name in found):
        raise InputError(
            f"{dataset.where}: {key!r} is not a list of texts; expected the names of frames"
        )
    if len(set(found)) < len(found):
        raise InputError(f"{dataset.where}: {key!r} names a frame twice; remove the repetition")
    return found


def _splits(dataset: Entry, ids: list[str]) -> tuple[list[str], list[str]]:
    """The lists of the file; where val_ids is empty, the interpolation rule of HyperNeRF."""
    test = _ids(dataset, "val_ids")
    train = _ids(dataset, "train_ids")
    if not test:
        first = range(0, len(ids), INTERPOLATION)
        train, test = [ids[k] for k in first], [ids[k + INTERPOLATION // 2] for k in first[:-1]]
    if not train:
        raise InputError(f"{dataset.where}: 'train_ids' is empty; list the frames to train on")
    strange = [name for name in [*train, *test] if name not in set(ids)]
    if strange:
        raise InputError(
            f"{dataset.where}: {strange[0]!r} is in a split but not among 'ids'; add or remove it"
        )
    both = set(train) & set(test)
    if both:
        raise InputError(
            f"{dataset.where}: {min(both)!r} is in train_ids and in val_ids; keep it in one of them"
        )
    return train, test


def _moments(file: Path, ids: list[str]) -> dict[str, float]:
    """The moment of each frame in the file's own count: `warp_id`, or `time_id` where none."""
    metadata, moments = read_object(file), {}
    for name in ids:
        entry = Entry(f"{file}: frame {name!r}", metadata.values.get(name))
        if not isinstance(entry.values, dict):
            raise InputError(f"{entry.where} has no entry; expected an object with 'warp_id'")
        moments[name] = entry.number("warp_id" if "warp_id" in entry else "time_id")
    return moments


def _space(file: Path, world: World) -> Space:
    values = read_object(file)
    near, far, scale = (values.number(key) for key in ("near", "far", "scale"))
    if not (0 < near < far and scale > 0):
        raise InputError(
            f"{file}: near {near:g}, far {far:g}, scale {scale:g}; expected 0 < near < far and 0 "
            "< scale"
        )
    near, far = near / world.unit, far / world.unit
    return Space(values.numbers("center", (3,)), scale, near, far, world)


def _pictures(rgb: Path, resolution: int) -> tuple[Path, int]:
    """The folder with the smallest pictures that are not smaller than `resolution` wants."""
    there = [ratio for ratio in RATIOS if (rgb / f"{ratio}x").is_dir()]
    if not there:
        raise InputError(
            f"{rgb}: it has none of the folders {', '.join(f'{r}x' for r in RATIOS)}; put the "
            "pictures there"
        )
    wanted = resolution if resolution in RATIOS else 1
    ratio = max((ratio for ratio in there if ratio <= wanted), default=min(there))
    return rgb / f"{ratio}x", ratio


def _read_frame(capture: Capture, name: str, row: int, time: float) -> Frame:
    file, ratio = capture.path / "camera" / f"{name}.json", capture.ratio
    values = read_object(file)
    camera = _camera(values, capture.space)
    image = capture.pictures / f"{name}.png"
    if not image.is_file() and image.with_suffix(".jpg").is_file():
        image = image.with_suffix(".jpg")
    width, height = image_size(image)
    if abs(width * ratio - camera.width) >= ratio or abs(height * ratio - camera.height) >= ratio:
        raise InputError(
            f"{image}: it has {width}x{height} pixels, but {file} says "
            f"{camera.width}x{camera.height} "
            f"divided by {ratio}; put pictures of that size there"
        )
    size = target_size(camera.width, camera.height, capture.resolution)
    if capture.resolution in (-1, ratio) or size[0] > width:
        size = (width, height)
    camera = camera.resized(width, height)
    mask = _mask(capture.masks, name) if capture.masks else None
    return Frame(camera.resized(*size), row, time, image, mask=mask, lens=_lens(values, camera))


def _mask(folder: Path, name: str) -> Mask:
    file = folder / f"{name}.png"
    if not file.is_file():
        raise InputError(
            f"{file}: no such mask; --mask_folder wants one for every frame, named as its picture"
        )
    return Mask(file)


def _camera(values: Entry, space: Space) -> Camera:
    """The camera at the size of the picture at full resolution, its lens taken for a pinhole."""
    width, height = (int(n) for n in values.numbers("image_size", (2,)))
    if min(width, height) < 1:
        raise InputError(
            f"{values.where}: 'image_size' is {width}x{height}; expected width and height in pixels"
        )
    skew = values.number("skew", 0.0)
    if abs(skew) > MAX_SKEW:
        raise InputError(
            f"{values.where}: 'skew' is {skew:g}; pictures of skewed pixels must be undone first"
        )
    focal, ratio = values.number("focal_length"), values.number("pixel_aspect_ratio", 1.0)
    cx, cy = values.numbers("principal_point", (2,)).tolist()
    w2c = torch.eye(4, dtype=torch.float64)
    w2c[:3, :3] = values.numbers("orientation", (3, 3))
    w2c[:3, 3] = -w2c[:3, :3] @ space(values.numbers("position", (3,)))
    with camera_of(values.where, "mend the file or remove the frame"):
        return Camera.from_opencv_w2c(w2c, intrinsics(focal, focal * ratio, cx, cy), width, height)


def _lens(values: Entry, camera: Camera) -> Lens | None:
    """The bending of the lens at the size of the picture, or None where it has none."""
    older = "tangential" if "tangential" in values else "tangential_distortion"
    k1 = k2 = k3 = p1 = p2 = 0.0
    if "radial_distortion" in values:
        k1, k2, k3 = values.numbers("radial_distortion", (3,)).tolist()
    if older in values:
        p1, p2 = values.numbers(older, (2,)).tolist()
    if not any((k1, k2, p1, p2, k3)):
        return None
    K = camera.K.tolist()
    return Lens((K[0][0], K[1][1], K[0][2], K[1][2]), (k1, k2, p1, p2, k3))


def _points(path: Path, cameras: list[Camera], space: Space, params: Placed) -> PointCloud:
    """Points with colours, else bare ones (both in raw units), else random ones in view."""
    for name in POINT_FILES:
        if (path / name).is_file():
            xyz, rgb = read_points(path / name)
            return checked_points(path / name, space(xyz), rgb)
    if (path / "points.npy").is_file():
        xyz = read_arrays(path / "points.npy").tensor("", (-1, 3))
        return checked_points(path / "points.npy", space(xyz), None)
    return points_in_view(cameras, params.init_points, near=space.near, far=space.far)
