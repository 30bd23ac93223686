"""NeRFace folders: `transforms_{train,val,test}.json` with camera-to-world matrices in OpenGL axes,
in the head's frame, and an expression per frame (Gafni et al., "Dynamic Neural Radiance Fields for
Monocular 4D Facial Avatar Reconstruction", CVPR 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scene import Scene
from scene.cameras import MIRROR_X, Camera, target_size
from scene.datasets._files import clock
from scene.datasets._heads import (
    coefficients,
    head_scene,
    in_order,
    mouth_in_picture,
    plate,
    signed_intrinsics,
)
from scene.datasets._settings import Extension, MouthBox, Plate, part_of
from scene.datasets._transforms import (
    Content,
    blender_intrinsics,
    first_frame,
    picture,
    read_transforms,
)
from scene.datasets._values import camera_of, numbers, pose
from scene.frames import Frame, Mask
from utils.errors import InputError
from utils.images import image_size

if TYPE_CHECKING:
    from arguments.settings import ModelParams

LOOKED_FOR = "transforms_train.json whose frames have 'expression'"
SPLITS = ("train", "val", "test")  # in the order of the video


@dataclass(frozen=True)
class DataParams(Extension, MouthBox, Plate):
    """How a NeRFace folder is read."""

    part: str = part_of("all", "person")


def recognise(path: Path) -> str:
    if "expression" in first_frame(path / "transforms_train.json"):
        return "transforms_train.json, whose frames have an expression"
    return ""


def read(path: Path, params: ModelParams, data: DataParams) -> Scene:
    """Read the folder. Pictures keep their background unless the user added mask/ beside them."""
    room = plate(data, data.part, path / "bg" / "00050.png")
    entries = [(split, *entry) for split in SPLITS for entry in _entries(path, split)]
    mirrored = _mirrored(*entries[0][1:])
    splits: dict[str, list[Frame]] = {split: [] for split in SPLITS}
    for row, (split, where, entry) in enumerate(entries):
        image = picture(path / f"transforms_{split}.json", where, entry, data.extension)
        splits[split].append(
            Frame(
                _camera(where, entry, image, mirrored, params),
                row,
                clock(row, len(entries)),
                image,
                _mask(image, data.part),
                plate_path=room,
                expression=coefficients(where, entry, "expression"),
            )
        )
    train, val, test = splits.values()
    box = mouth_in_picture([*train, *val, *test])
    if not params.eval:
        train = train + test
    return head_scene(train, test, params, data, mouth=box, val=val)


def _entries(path: Path, split: str) -> list[tuple[str, Content]]:
    """Of every frame of a split the beginning of a message, and what its file says of it."""
    file = path / f"transforms_{split}.json"
    if not file.is_file():
        if split == "val":
            return []
        raise InputError(
            f"{file}: not found; a NeRFace folder holds transforms_train.json and "
            "transforms_test.json"
        )
    content, frames = read_transforms(file)
    return [(where, {**content, **frame}) for where, frame in in_order(file, frames)]


def _mirrored(where: str, entry: Content) -> bool:
    """Whether the folder's world is a mirror image, as public ones are: its first frame tells.

    Their camera's x axis points to the left (fx < 0) while its axes are right-handed, which is only
    so in a world whose left and right are exchanged. Exchanging them back makes both real.
    """
    if "intrinsics" not in entry:
        return False
    fx = numbers(where, entry, "intrinsics", (4,))[0]
    return bool(fx < 0 < torch.linalg.det(pose(where, entry, "transform_matrix")[:3, :3]))


def _camera(where: str, entry: Content, image: Path, mirrored: bool, params: ModelParams) -> Camera:
    width, height = image_size(image)
    c2w = pose(where, entry, "transform_matrix")
    K = _lens(where, entry, width, height)
    with camera_of(where, "mend or remove the frame"):
        camera = Camera.from_opengl_c2w(MIRROR_X @ c2w if mirrored else c2w, K, width, height)
    return camera.resized(*target_size(width, height, params.resolution))


def _lens(where: str, entry: Content, width: int, height: int) -> Tensor:
    """(3, 3) intrinsics, pixels; `camera_angle_x` counts only in files without `intrinsics`."""
    if "intrinsics" in entry:
        return signed_intrinsics(where, entry, width, height)
    return blender_intrinsics(where, entry, width, height)


def _mask(image: Path, part: str) -> Mask | None:
    """A matte of the picture's name in mask/ beside it: not of the layout, but users add it."""
    mask = image.parent / "mask" / image.name
    return Mask(mask) if part == "person" and mask.parent.is_dir() else None
