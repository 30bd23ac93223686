"""GaussianAvatars folders, as VHAP writes them: `transforms_{train,val,test}.json` with
camera-to-world matrices in OpenGL axes, and FLAME's numbers of every moment in an .npz file, in
metres (Qian et al., "GaussianAvatars", CVPR 2024). The head moves in the world; val shows moments
of train from other cameras.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor

from scene import Scene, Subject
from scene.cameras import Camera
from scene.datasets._arrays import Arrays, read_arrays
from scene.datasets._entry import Entry
from scene.datasets._flame_heads import FlameHead, in_world
from scene.datasets._heads import bounded, in_order, numbered
from scene.datasets._settings import Extension, MouthBox, MovingHead, part_of
from scene.datasets._transforms import (
    beside,
    blender_intrinsics,
    first_frame,
    picture,
    read_transforms,
    straightened,
)
from scene.frames import Frame, Mask
from scene.world import Placed, World
from utils.images import image_size
from utils.rotations import rigid_inverse

LOOKED_FOR = "transforms_train.json whose frames have 'flame_param_path'"
# Arrays (1, n), in the order of flame_pose.
POSE = {"rotation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6}


@dataclass(frozen=True)
class DataParams(Extension, MouthBox, MovingHead):
    """How a GaussianAvatars folder is read."""

    part: str = part_of("all", "person")


def recognise(path: Path) -> str:
    if "flame_param_path" in first_frame(path / "transforms_train.json"):
        return "transforms_train.json, whose frames have flame_param_path"
    return ""


def read(path: Path, params: Placed, data: DataParams) -> Scene:
    """Read the folder. Frames of one moment are those that share a file of FLAME's numbers."""
    head = FlameHead.of(Subject(_shape(path / "transforms_train.json")), data, path)
    moment_of = cache(partial(_moment, head, params.world))
    names = ["train", "test"] + ["val"] * (path / "transforms_val.json").is_file()
    read_split = partial(_read_split, moment_of=moment_of, params=params, data=data)
    splits = numbered({name: read_split(path / f"transforms_{name}.json") for name in names})
    train, test, val = (in_world(splits.get(name, []), data) for name in ("train", "test", "val"))
    if not params.eval:
        train = train + test
    return head.scene(train, test, params, data, val)


@dataclass(frozen=True)
class Moment:
    """What FLAME's numbers of one moment say."""

    expression: Tensor  # (E,)
    flame_pose: Tensor  # (15,)
    head_to_world: Tensor  # (4, 4)


def _shape(file: Path) -> Tensor:
    """(S,) identity, which VHAP repeats in the file of every moment."""
    _, frames = read_transforms(file)
    return _vector(read_arrays(_numbers_file(file, frames[0])), "shape", (-1,))


def _read_split(
    file: Path, moment_of: Callable[[Path], Moment], params: Placed, data: DataParams
) -> list[tuple[str, Frame]]:
    """The frames of a file, not yet numbered, each with the name of its moment."""
    found, empty = [], file.name != "transforms_train.json"
    for entry in in_order(read_transforms(file, may_be_empty=empty)[1]):
        numbers_file = _numbers_file(file, entry)
        frame = _read_frame(file, entry, moment_of(numbers_file), params, data)
        found.append((str(numbers_file), frame))
    return found


def _read_frame(
    file: Path, entry: Entry, moment: Moment, params: Placed, data: DataParams
) -> Frame:
    image = picture(file, entry, data.extension)
    size = image_size(image)
    K, world = _lens(entry, *size), params.world.held
    camera = entry.camera("transform_matrix", Camera.from_opengl_c2w, K, size, world)
    masked = data.part == "person" and "fg_mask_path" in entry
    mask = Mask(beside(file, entry, "fg_mask_path")) if masked else None
    room = rigid_inverse(moment.head_to_world)  # what stands still beside several cameras
    codes = {**vars(moment), "body_to_world": room}
    frame = Frame(camera.at(params.resolution), 0, 0.0, image, mask, **codes)
    return straightened(frame, entry, camera)


def _lens(entry: Entry, width: int, height: int) -> Tensor:
    """(3, 3) of the frame or the file, pixels: a matrix, or Blender's numbers, which come first."""
    if "intrinsics" in entry and "fl_x" not in entry and "camera_angle_x" not in entry:
        return entry.numbers("intrinsics", (3, 3))
    return blender_intrinsics(entry, width, height)


def _numbers_file(file: Path, entry: Entry) -> Path:
    return beside(file, entry, "flame_param_path")


def _moment(head: FlameHead, world: World, file: Path) -> Moment:
    arrays = read_arrays(file)
    expression = _vector(arrays, "expr", (1, -1))
    pose = torch.cat([_vector(arrays, name, (1, size)) for name, size in POSE.items()])
    place = world.own(arrays.tensor("translation", (1, 3))[0])
    place = bounded(f"{arrays.file}: array 'translation'", place)
    return Moment(expression, pose, head.stands(pose, expression, place))


def _vector(arrays: Arrays, name: str, shape: tuple[int, ...]) -> Tensor:
    return bounded(f"{arrays.file}: array {name!r}", arrays.tensor(name, shape).reshape(-1))
