"""INSTA folders, as its tool makes them of the metrical tracker's output: `transforms*.json` with
camera-to-world matrices in OpenCV axes, RGBA pictures and a text file of FLAME expressions per
frame, in FLAME's metres (Zielonka et al., "Instant Volumetric Head Avatars", CVPR 2023)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scene import Scene, Subject
from scene.cameras import Camera, target_size
from scene.datasets._flame_heads import FlameHead
from scene.datasets._heads import (
    bounded,
    head_scene,
    in_order,
    numbered,
    plate,
    refuse_part,
    split_video,
)
from scene.datasets._transforms import (
    Content,
    blender_intrinsics,
    first_frame,
    picture,
    read_transforms,
)
from scene.datasets._values import camera_of, pose, text
from scene.frames import Frame
from utils.errors import InputError
from utils.images import image_size

if TYPE_CHECKING:
    from arguments.settings import ModelParams

LOOKED_FOR = "transforms_train.json or transforms.json whose frames have 'exp_path'"
PUBLISHED_TEST = 350  # frames at the end
MAX_BYTES = 100_000  # of a file of coefficients


def recognise(path: Path) -> str:
    for name in ("transforms_train.json", "transforms.json"):
        if "exp_path" in first_frame(path / name):
            return f"{name}, whose frames have exp_path"
    return ""


def read(path: Path, params: ModelParams) -> Scene:
    """Read the folder: its own split, or of `transforms.json` alone the last 350 frames test.

    The alpha of the pictures is the person. No file says the identity, so its coefficients are
    none.
    """
    plate(params, None, "INSTA")
    refuse_part(path, params, "INSTA")
    train, test, val = _stated(path, params) or _split(path, params)
    head = FlameHead.of(Subject(torch.zeros(0)), params)
    points = head.points(train[0], [frame.camera for frame in train], params.init_points)
    return head_scene(
        train, test, params, mouth=head.mouth, val=val, subject=head.subject, points=points
    )


def _stated(path: Path, params: ModelParams) -> tuple[list[Frame], list[Frame], list[Frame]] | None:
    """Train, test and val frames of the files that say so; None where there are none.

    Frames of val that are in another split, too, are left out of it.
    """
    if not (path / "transforms_train.json").is_file():
        return None
    names = ["train", "test"] + ["val"] * (path / "transforms_val.json").is_file()
    splits = numbered(
        {name: _read_file(path / f"transforms_{name}.json", params) for name in names}
    )
    train, test = splits["train"], splits["test"]
    known = {frame.image_path for frame in train + test}
    val = [frame for frame in splits.get("val", []) if frame.image_path not in known]
    return train if params.eval else train + test, test, val


def _split(path: Path, params: ModelParams) -> tuple[list[Frame], list[Frame], list[Frame]]:
    frames = numbered({"all": _read_file(path / "transforms.json", params)})["all"]
    return *split_video(frames, params, PUBLISHED_TEST), []


def _read_file(file: Path, params: ModelParams) -> list[tuple[str, Frame]]:
    """The frames of a file, not yet numbered, each with the name of its moment."""
    content, frames = read_transforms(file)
    return [
        (frame["file_path"], _read_frame(file, where, {**content, **frame}, params))
        for where, frame in in_order(file, frames)
    ]


def _read_frame(file: Path, where: str, entry: Content, params: ModelParams) -> Frame:
    image = picture(file, where, entry, params.extension)
    expression = _coefficients(file.parent / text(where, entry, "exp_path"))
    return Frame(_camera(where, entry, image, params), 0, 0.0, image, expression=expression)


def _camera(where: str, entry: Content, image: Path, params: ModelParams) -> Camera:
    width, height = image_size(image)
    c2w, K = pose(where, entry, "transform_matrix"), blender_intrinsics(where, entry, width, height)
    with camera_of(f"{where}: 'transform_matrix'", "mend or remove the frame"):
        camera = Camera.from_opencv_c2w(c2w, K, width, height)
    return camera.resized(*target_size(width, height, params.resolution))


def _coefficients(file: Path) -> Tensor:
    """(E,) numbers of a text file, one a line."""
    try:
        with file.open("rb") as opened:
            words = opened.read(MAX_BYTES).split()
        values = torch.tensor([float(word) for word in words], dtype=torch.float64)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file}: it cannot be read as a list of numbers ({error}); write it again"
        ) from None
    if not len(values) or not torch.isfinite(values).all():
        found = "NaN or infinite numbers" if len(values) else "no numbers"
        raise InputError(f"{file}: it holds {found}; write it again")
    return bounded(str(file), values)
