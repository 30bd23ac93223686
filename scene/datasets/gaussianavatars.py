"""GaussianAvatars folders, as VHAP writes them: `transforms_{train,val,test}.json` with
camera-to-world matrices in OpenGL axes, and FLAME's numbers of every moment in an .npz file, in
metres (Qian et al., "GaussianAvatars", CVPR 2024). The head moves in the world; val shows moments
of train from other cameras.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from numpy.typing import NDArray
from torch import Tensor

from scene import Scene, Subject
from scene.cameras import target_size
from scene.datasets._flame_heads import FlameHead, in_world
from scene.datasets._heads import bounded, head_scene, in_order, numbered
from scene.datasets._settings import Extension, MouthBox, MovingHead, part_of
from scene.datasets._transforms import (
    Content,
    blender_intrinsics,
    first_frame,
    opengl_camera,
    picture,
    place,
    read_transforms,
)
from scene.datasets._values import array_of, numbers, read_arrays, text
from scene.frames import Frame, Mask
from utils.images import image_size

if TYPE_CHECKING:
    from arguments.settings import ModelParams

LOOKED_FOR = "transforms_train.json whose frames have 'flame_param_path'"
POSE = {
    "rotation": 3,
    "neck_pose": 3,
    "jaw_pose": 3,
    "eyes_pose": 6,
}  # arrays (1, n), as flame_pose has them


@dataclass(frozen=True)
class DataParams(Extension, MouthBox, MovingHead):
    """How a GaussianAvatars folder is read."""

    part: str = part_of("all", "person")


def recognise(path: Path) -> str:
    if "flame_param_path" in first_frame(path / "transforms_train.json"):
        return "transforms_train.json, whose frames have flame_param_path"
    return ""


def read(path: Path, params: ModelParams, data: DataParams) -> Scene:
    """Read the folder. Frames of one moment are those that share a file of FLAME's numbers."""
    head = FlameHead.of(Subject(_shape(path / "transforms_train.json")), data)
    moment_of = cache(partial(_moment, head))
    names = ["train", "test"] + ["val"] * (path / "transforms_val.json").is_file()
    read_split = partial(_read_split, moment_of=moment_of, params=params, data=data)
    splits = numbered({name: read_split(path / f"transforms_{name}.json") for name in names})
    train, test, val = (in_world(splits.get(name, []), data) for name in ("train", "test", "val"))
    if not params.eval:
        train = train + test
    points = head.points(train[0], [frame.camera for frame in train], params.init_points)
    return head_scene(
        train, test, params, data,
        mouth=head.mouth, val=val, subject=head.subject, points=points,
    )  # fmt: skip


@dataclass(frozen=True)
class Moment:
    """What FLAME's numbers of one moment say."""

    expression: Tensor  # (E,)
    flame_pose: Tensor  # (15,)
    head_to_world: Tensor  # (4, 4)


def _shape(file: Path) -> Tensor:
    """(S,) identity, which VHAP repeats in the file of every moment."""
    _, frames = read_transforms(file)
    numbers_file = _numbers_file(file, place(file, 0, frames[0]), frames[0])
    return _vector(numbers_file, read_arrays(numbers_file), "shape", (-1,))


def _read_split(
    file: Path, moment_of: Callable[[Path], Moment], params: ModelParams, data: DataParams
) -> list[tuple[str, Frame]]:
    """The frames of a file, not yet numbered, each with the name of its moment."""
    content, frames = read_transforms(file)
    found = []
    for where, frame in in_order(file, frames):
        numbers_file = _numbers_file(file, where, frame)
        moment = moment_of(numbers_file)
        found.append(
            (
                str(numbers_file),
                _read_frame(file, where, {**content, **frame}, moment, params, data),
            )
        )
    return found


def _read_frame(
    file: Path,
    where: str,
    entry: Content,
    moment: Moment,
    params: ModelParams,
    data: DataParams,
) -> Frame:
    image = picture(file, where, entry, data.extension)
    size = image_size(image)
    camera = opengl_camera(where, entry, _lens(where, entry, *size), *size)
    masked = data.part == "person" and "fg_mask_path" in entry
    return Frame(
        camera.resized(*target_size(*size, params.resolution)),
        index=0,
        time=0.0,
        image_path=image,
        mask=Mask(file.parent / text(where, entry, "fg_mask_path")) if masked else None,
        expression=moment.expression,
        flame_pose=moment.flame_pose,
        head_to_world=moment.head_to_world,
    )


def _lens(where: str, entry: Content, width: int, height: int) -> Tensor:
    """(3, 3) of the frame or the file, pixels: a matrix, or Blender's numbers, which come first."""
    if "intrinsics" in entry and not {"fl_x", "camera_angle_x"} & entry.keys():
        return numbers(where, entry, "intrinsics", (3, 3))
    return blender_intrinsics(where, entry, width, height)


def _numbers_file(file: Path, where: str, frame: Content) -> Path:
    return file.parent / text(where, frame, "flame_param_path")


def _moment(head: FlameHead, file: Path) -> Moment:
    arrays = read_arrays(file)
    expression = _vector(file, arrays, "expr", (1, -1))
    pose = torch.cat([_vector(file, arrays, name, (1, size)) for name, size in POSE.items()])
    translation = _vector(file, arrays, "translation", (1, 3))
    return Moment(expression, pose, head.stands(pose, expression, translation))


def _vector(file: Path, arrays: Mapping[str, NDArray], name: str, shape: tuple[int, ...]) -> Tensor:
    return bounded(f"{file}: array {name!r}", array_of(file, arrays, name, shape).reshape(-1))
