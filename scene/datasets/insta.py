"""INSTA folders, as its tool makes them of the metrical tracker's output: `transforms*.json` with
camera-to-world matrices in OpenCV axes, RGBA pictures and text files of FLAME's numbers per frame,
in FLAME's metres (Zielonka et al., "Instant Volumetric Head Avatars", CVPR 2023).

The tool writes expressions. What else its tracker knows has a folder of the same files beside that
of the expressions where somebody had it written (FATE does): `jaw`, `eyes`, `shape`. Root and neck
rest, because the world is the head.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from scene import Scene, Subject
from scene.cameras import Camera
from scene.datasets._entry import Entry
from scene.datasets._flame_heads import FlameHead
from scene.datasets._heads import bounded, in_order, numbered, split_video
from scene.datasets._settings import Extension, HeadModel, HoldOut, MouthBox
from scene.datasets._transforms import (
    beside,
    blender_intrinsics,
    first_frame,
    picture,
    read_transforms,
    straightened,
)
from scene.frames import Frame
from scene.world import Placed
from utils.errors import InputError
from utils.files import read_bytes, reading
from utils.images import image_size

LOOKED_FOR = "transforms_train.json or transforms.json whose frames have 'exp_path'"
FILES = ("transforms_train.json", "transforms.json")
PUBLISHED_TEST = 350  # frames at the end
MAX_BYTES = 100_000  # of a file of coefficients
PARALLEL = 1e-3  # sine of the angle between two rows that span no plane
TURNS = {"jaw": 1, "eyes": 2}  # folders of rotations, and joints in each; the left eye comes first
AXIS_ANGLE, SIX_D = 3, 6  # numbers of one rotation: a vector, or the first two rows of its matrix


@dataclass(frozen=True)
class DataParams(Extension, HoldOut, MouthBox, HeadModel):
    """How an INSTA folder is read."""


def recognise(path: Path) -> str:
    for name in FILES:
        if "exp_path" in first_frame(path / name):
            return f"{name}, whose frames have exp_path"
    return ""


def read(path: Path, params: Placed, data: DataParams) -> Scene:
    """Read the folder: its own split, or of `transforms.json` alone the last 350 frames test.

    The alpha of the pictures is the person. Frames have a pose where `jaw` or `eyes` is there; the
    identity has no coefficients where `shape` is not.
    """
    train, test, val = _stated(path, params, data) or _split(path, params, data)
    head = FlameHead.of(Subject(_shape(path)), data, path)
    return head.scene(train, test, params, data, val)


def _stated(
    path: Path, params: Placed, data: DataParams
) -> tuple[list[Frame], list[Frame], list[Frame]] | None:
    """Train, test and val frames of the files that say so; None where there are none.

    Frames of val that are in another split, too, are left out of it.
    """
    if not (path / "transforms_train.json").is_file():
        return None
    names = ["train", "test"] + ["val"] * (path / "transforms_val.json").is_file()
    splits = numbered(
        {name: _read_file(path / f"transforms_{name}.json", params, data) for name in names}
    )
    train, test = splits["train"], splits["test"]
    known = {frame.image_path for frame in train + test}
    val = [frame for frame in splits.get("val", []) if frame.image_path not in known]
    return train if params.eval else train + test, test, val


def _split(
    path: Path, params: Placed, data: DataParams
) -> tuple[list[Frame], list[Frame], list[Frame]]:
    frames = numbered({"all": _read_file(path / "transforms.json", params, data)})["all"]
    return *split_video(frames, params, data, PUBLISHED_TEST), []


def _read_file(file: Path, params: Placed, data: DataParams) -> list[tuple[str, Frame]]:
    """The frames of a file, not yet numbered, each with the name of its moment."""
    stated = file.name in ("transforms_test.json", "transforms_val.json")
    frames = in_order(read_transforms(file, may_be_empty=stated)[1])
    return [(entry.text("file_path"), _read_frame(file, entry, params, data)) for entry in frames]


def _read_frame(file: Path, entry: Entry, params: Placed, data: DataParams) -> Frame:
    image = picture(file, entry, data.extension)
    size = image_size(image)
    K = blender_intrinsics(entry, *size)
    camera = entry.camera("transform_matrix", Camera.from_opencv_c2w, K, size)
    expressions = beside(file, entry, "exp_path")
    codes = {"expression": _coefficients(expressions), "flame_pose": _pose(expressions)}
    frame = Frame(camera.at(params.resolution), 0, 0.0, image, **codes)
    return straightened(frame, entry, camera)


def _beside(expressions: Path, folder: str) -> Path | None:
    """The file of the same frame in another folder; None where there is no such folder."""
    other = expressions.parent.parent / folder
    return other / expressions.name if other.is_dir() else None


def _shape(path: Path) -> Tensor:
    """(S,) identity, which is repeated in the file of every frame."""
    file = next(path / name for name in FILES if (path / name).is_file())
    shape = _beside(beside(file, first_frame(file), "exp_path"), "shape")
    return _coefficients(shape) if shape else torch.zeros(0)


def _pose(expressions: Path) -> Tensor | None:
    """(15,) axis-angle with root, neck and what has no folder at rest; None where nothing has."""
    files = {name: _beside(expressions, name) for name in TURNS}
    if not any(files.values()):
        return None
    turns = [
        _turns(file, TURNS[name]) if file else torch.zeros(TURNS[name], 3)
        for name, file in files.items()
    ]
    return torch.cat([torch.zeros(2, 3), *turns]).reshape(15)


def _turns(file: Path, count: int) -> Tensor:
    """(count, 3) rotation vectors, radians, from such or from the tracker's six numbers each."""
    values = _coefficients(file)
    if len(values) == count * AXIS_ANGLE:
        return values.reshape(count, AXIS_ANGLE)
    if len(values) != count * SIX_D:
        raise InputError(
            f"{file}: it holds {len(values)} numbers; expected {count} x {SIX_D}, the first two "
            f"rows of each rotation's matrix, or {count} x {AXIS_ANGLE}, rotation vectors"
        )
    return torch.stack([_rotation_vector(file, six) for six in values.reshape(count, 2, 3)])


def _rotation_vector(file: Path, rows: Tensor) -> Tensor:
    """(3,) from two rows (2, 3) of a matrix, made orthonormal (Zhou et al., CVPR 2019, B)."""
    first, second = rows.double().numpy()
    third = np.cross(first, second)
    if np.linalg.norm(third) <= PARALLEL * np.linalg.norm(first) * np.linalg.norm(second):
        raise InputError(f"{file}: its rows {rows.tolist()} span no rotation; write it again")
    matrix = np.stack([first, np.cross(third, first), third])
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    return torch.from_numpy(cv2.Rodrigues(matrix)[0][:, 0]).float()


def _coefficients(file: Path) -> Tensor:
    """(E,) numbers of a text file, one a line."""
    with reading(file, "a list of numbers"):
        words = read_bytes(file, MAX_BYTES).split()
        values = torch.tensor([float(word) for word in words], dtype=torch.float64)
    if not len(values) or not torch.isfinite(values).all():
        found = "NaN or infinite numbers" if len(values) else "no numbers"
        raise InputError(f"{file}: it holds {found}; write it again")
    return bounded(str(file), values)
