"""NeRFBlendShape folders, which GaussianHead reads too: one `transforms.json` with camera-to-world
matrices in OpenGL axes and an expression per frame, in the head's frame (Gao et al.,
"NeRFBlendShape", SIGGRAPH Asia 2022; Wang et al., "GaussianHead", 2023)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from scene import Scene
from scene.cameras import Camera, intrinsics
from scene.datasets._entry import Entry
from scene.datasets._files import pictures
from scene.datasets._heads import (
    HEAD_LABELS,
    TORSO_LABELS,
    coefficients,
    head_scene,
    mouth_in_picture,
    need_folder,
    plate,
    split_video,
)
from scene.datasets._moments import time_of
from scene.datasets._settings import HoldOut, MouthBox, Plate, part_of
from scene.datasets._transforms import first_frame, read_transforms, straightened
from scene.frames import Frame, Mask, Parsing
from scene.world import Placed
from utils.errors import InputError
from utils.images import image_size

LOOKED_FOR = "transforms.json whose frames have 'exp_ori'"
PUBLISHED_TEST = 500  # frames at the end
# parsing/ holds colours (AD-NeRF: head blue, neck green, torso red) or labels (CelebAMask-HQ).
HEAD = ((0, 0, 255), *HEAD_LABELS)
TORSO = ((0, 255, 0), (255, 0, 0), *TORSO_LABELS)
PERSON = (*HEAD, *TORSO)
MAX_ID = 10**9


@dataclass(frozen=True)
class DataParams(HoldOut, MouthBox, Plate):
    """How a NeRFBlendShape folder is read."""

    part: str = part_of("all", "person", "head")


def recognise(path: Path) -> str:
    if "exp_ori" in first_frame(path / "transforms.json"):
        return "transforms.json, whose frames have exp_ori"
    return ""


def read(path: Path, params: Placed, data: DataParams) -> Scene:
    """Read the folder; the last 500 frames test, or as many as `data.hold_out` says."""
    file = path / "transforms.json"
    content, entries = read_transforms(file)
    by_id = _by_id(file, entries)
    size, K = _lens(content)
    room, mask_of = plate(data, data.part, path / "bc.jpg"), _masks(path, data.part)
    frames = []
    for row, (img_id, entry) in enumerate(by_id.items()):
        image = path / "ori_imgs" / f"{img_id}.jpg"
        if image_size(image) != size:
            raise InputError(
                f"{image}: its size is not the {size[0]}x{size[1]} of {file}; "
                "resize the picture or correct w and h"
            )
        world = params.world.held
        camera = entry.camera("transform_matrix", Camera.from_opengl_c2w, K, size, world)
        expression = coefficients(entry, "exp_ori")
        time, mask = time_of(row, len(by_id)), mask_of(img_id)
        frame = Frame(camera.at(params.resolution), row, time, image, mask)
        parsing = path / "parsing" / f"{img_id}.png"
        if parsing.is_file():
            frame = replace(frame, parsing=Parsing(parsing, HEAD, TORSO))
        frame = replace(frame, plate_path=room, expression=expression)
        frames.append(straightened(frame, entry, camera))
    train, test = split_video(frames, params, data, PUBLISHED_TEST)
    return head_scene(train, test, params, data, mouth=mouth_in_picture(frames))


def _by_id(file: Path, entries: list[Entry]) -> dict[int, Entry]:
    """The frames by the number of their picture, in order."""
    found: dict[int, Entry] = {}
    for entry in entries:
        value = entry.number("img_id")
        if not (value.is_integer() and 0 <= value < MAX_ID):
            raise InputError(
                f"{entry.where}: 'img_id' is {value:g}; expected the number of its picture"
            )
        if int(value) in found:
            raise InputError(
                f"{entry.where}: img_id {int(value)} is there twice; remove one of the frames"
            )
        found[int(value)] = replace(entry, where=f"{file}: img_id {int(value)}")
    return dict(sorted(found.items()))


def _lens(content: Entry) -> tuple[tuple[int, int], Tensor]:
    """Width and height of all pictures, and their intrinsics (3, 3)."""
    width, height, fx, fy, cx, cy = (content.number(k) for k in ("w", "h", "fx", "fy", "cx", "cy"))
    if not (width.is_integer() and height.is_integer() and min(width, height) >= 1):
        raise InputError(
            f"{content.where}: 'w' and 'h' are {width:g} and {height:g}; expected pixels"
        )
    return (int(width), int(height)), intrinsics(fx, fy, cx, cy)


def _masks(path: Path, part: str) -> Callable[[int], Mask | None]:
    """From the number of a picture to the mask of the part that is asked for.

    The person is in the mattes of mask/, which GaussianHead's users add, else in parsing/.
    """
    mattes, parsing = path / "mask", path / "parsing"
    if part == "all":
        return lambda img_id: None
    if part == "person" and mattes.is_dir():
        ahead = _ahead(path)
        return lambda img_id: Mask(mattes / f"{img_id + ahead}.png")
    need_folder(parsing, part)
    keep = {"head": HEAD, "person": PERSON}[part]
    return lambda img_id: Mask(parsing / f"{img_id}.png", keep)


def _ahead(path: Path) -> int:
    """By how much the names of masks run ahead of those of their pictures: 0, or 1 as published.

    Public folders count pictures from 0 and masks, which another tool wrote, from 1: so the
    smallest names of both folders tell. Neighbouring masks differ too little to notice a wrong
    pairing.
    """
    first = []
    for folder in (path / "ori_imgs", path / "mask"):
        ids = [int(picture.stem) for picture in pictures(folder) if picture.stem.isdecimal()]
        if not ids:
            raise InputError(
                f"{folder}: no picture named by a number here; pictures are named as 7.png"
            )
        first.append(min(ids))
    ahead = first[1] - first[0]
    if ahead not in (0, 1):
        raise InputError(
            f"{path / 'mask'}: its first mask is {first[1]}, the first picture of ori_imgs is "
            f"{first[0]}; masks have their picture's number or, as published, one more"
        )
    return ahead
