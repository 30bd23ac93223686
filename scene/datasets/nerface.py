"""NeRFace folders: `transforms_{train,val,test}.json` with camera-to-world matrices in OpenGL axes,
in the head's frame, and an expression per frame (Gafni et al., "Dynamic Neural Radiance Fields for
Monocular 4D Facial Avatar Reconstruction", CVPR 2021)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from scene import Scene
from scene.cameras import MIRROR_X, Camera
from scene.datasets._entry import Entry, camera_of
from scene.datasets._heads import (
    coefficients,
    head_scene,
    in_order,
    mouth_in_picture,
    plate,
    signed_intrinsics,
)
from scene.datasets._moments import time_of
from scene.datasets._settings import Extension, MouthBox, Plate, part_of
from scene.datasets._transforms import (
    blender_intrinsics,
    first_frame,
    picture,
    read_transforms,
    straightened,
)
from scene.frames import Frame, Mask
from scene.world import Placed
from utils.errors import InputError
from utils.images import image_size

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


def read(path: Path, params: Placed, data: DataParams) -> Scene:
    """Read the folder. Pictures keep their background unless the user added mask/ beside them."""
    room = plate(data, data.part, path / "bg" / "00050.png")
    entries = [(split, entry) for split in SPLITS for entry in _entries(path, split)]
    mirrored = _mirrored(entries[0][1])
    splits: dict[str, list[Frame]] = {split: [] for split in SPLITS}
    for row, (split, entry) in enumerate(entries):
        image = picture(path / f"transforms_{split}.json", entry, data.extension)
        camera, mask = _camera(entry, image, mirrored, params), _mask(image, data.part)
        frame = Frame(
            camera.at(params.resolution),
            row,
            time_of(row, len(entries)),
            image,
            mask,
            plate_path=room,
        )
        frame = replace(frame, expression=coefficients(entry, "expression"))
        splits[split].append(straightened(frame, entry, camera))
    train, val, test = splits.values()
    box = mouth_in_picture([*train, *val, *test])
    if not params.eval:
        train = train + test
    return head_scene(train, test, params, data, mouth=box, val=val)


def _entries(path: Path, split: str) -> list[Entry]:
    """The frames of a split."""
    file = path / f"transforms_{split}.json"
    if not file.is_file():
        if split == "val":
            return []
        raise InputError(
            f"{file}: not found; a NeRFace folder holds transforms_train.json and "
            "transforms_test.json"
        )
    return in_order(read_transforms(file, may_be_empty=split != "train")[1])


def _mirrored(entry: Entry) -> bool:
    """Whether the folder's world is a mirror image, as public ones are: its first frame tells.

    Their camera's x axis points to the left (fx < 0) while its axes are right-handed, which is only
    so in a world whose left and right are exchanged. Exchanging them back makes both real.
    """
    if "intrinsics" not in entry:
        return False
    fx = entry.numbers("intrinsics", (4,))[0]
    return bool(fx < 0 < torch.linalg.det(entry.pose("transform_matrix")[:3, :3]))


def _camera(entry: Entry, image: Path, mirrored: bool, params: Placed) -> Camera:
    size, c2w = image_size(image), params.world.held(entry.pose("transform_matrix"))
    K = _lens(entry, *size)
    with camera_of(entry.where, "mend or remove the frame"):
        return Camera.from_opengl_c2w(MIRROR_X @ c2w if mirrored else c2w, K, *size)


def _lens(entry: Entry, width: int, height: int) -> Tensor:
    """(3, 3) intrinsics, pixels; `camera_angle_x` counts only in files without `intrinsics`."""
    if "intrinsics" in entry:
        return signed_intrinsics(entry, width, height)
    return blender_intrinsics(entry, width, height)


def _mask(image: Path, part: str) -> Mask | None:
    """A matte of the picture's name in mask/ beside it: not of the layout, but users add it."""
    mask = image.parent / "mask" / image.name
    return Mask(mask) if part == "person" and mask.parent.is_dir() else None
