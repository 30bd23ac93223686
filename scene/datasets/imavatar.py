"""IMavatar folders, which PointAvatar, MonoGaussianAvatar and SplattingAvatar read too: a folder
per video with `flame_params.json`, world-to-camera matrices in OpenGL axes, FLAME's numbers per
frame, in a world of FLAME's metres times four (Zheng et al., "I M Avatar", CVPR 2022)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from scene import Scene, Subject
from scene.cameras import Camera, target_size
from scene.datasets._files import clock, natural
from scene.datasets._flame_heads import FlameHead, in_world
from scene.datasets._heads import (
    HEAD_LABELS,
    coefficients,
    head_scene,
    in_order,
    need_folder,
    plate,
    signed_intrinsics,
    split_video,
)
from scene.datasets._transforms import Content, picture, read_transforms
from scene.datasets._values import camera_of, pose, read_object
from scene.frames import Frame, Mask
from utils.errors import InputError
from utils.images import image_size

if TYPE_CHECKING:
    from arguments.settings import ModelParams

LOOKED_FOR = "flame_params.json, here or one folder per video down"
FILE = "flame_params.json"
SCALE = 4.0  # world units per metre
PUBLISHED_TEST = 350  # frames at the end of a subject of one video (SplattingAvatar)
MASKS = {"person": ("mask", ()), "head": ("semantic", HEAD_LABELS)}  # folder beside image/, colours


def recognise(path: Path) -> str:
    videos = _videos(path)
    return f"{FILE} of {len(videos)} videos" if videos else ""


def read(path: Path, params: ModelParams) -> Scene:
    """Read the subject's videos; those that `params.test_videos` says are held out."""
    plate(params, None, "IMavatar")
    videos = _videos(path)
    if not videos:
        raise InputError(
            f"{path}: no {FILE} here or one folder down; name the subject's folder with -s"
        )
    held_out = _held_out(path, videos, params)
    training = [video for video in videos if video not in held_out]
    head = FlameHead.of(_subject(training[-1] / FILE), params)
    taken, tested = (
        [frame for video in part for frame in _read_video(video, head, params)]
        for part in (training, held_out)
    )
    count = len(taken) + len(tested)
    frames = [
        replace(frame, index=row, time=clock(row, count))
        for row, frame in enumerate(in_world(taken + tested, params))
    ]
    if held_out:
        train, test = frames[: len(taken) if params.eval else count], frames[len(taken) :]
    else:
        train, test = split_video(frames, params, PUBLISHED_TEST)
    points = head.points(train[0], [frame.camera for frame in train], params.init_points)
    return head_scene(train, test, params, mouth=head.mouth, subject=head.subject, points=points)


def _videos(path: Path) -> list[Path]:
    """The folders of the subject's videos.

    Public ones lie in <subject>/<subject>; a subject of one video may be its folder.
    """
    if (path / FILE).is_file():
        return [path]
    for folder in (path, path / path.resolve().name):
        found = sorted(
            (file.parent for file in folder.glob(f"*/{FILE}")), key=lambda v: natural(v.name)
        )
        if found:
            return found
    return []


def _held_out(path: Path, videos: list[Path], params: ModelParams) -> list[Path]:
    """The videos named by the user, else those named test...; none of a subject of one video."""
    names = [video.name for video in videos]
    strange = [name for name in params.test_videos if name not in names]
    if strange:
        raise InputError(
            f"{path}: test_videos names {strange[0]!r}; its videos are {', '.join(names)}"
        )
    found = [v for v in videos if v.name in params.test_videos]
    found = found or [v for v in videos if v.name.startswith("test") and len(videos) > 1]
    if len(found) == len(videos):
        raise InputError(
            f"{path}: all its videos are held out ({', '.join(names)}); "
            "leave one to train on with test_videos"
        )
    return found


def _subject(file: Path) -> Subject:
    return Subject(coefficients(str(file), read_object(file), "shape_params"), SCALE)


def _read_video(video: Path, head: FlameHead, params: ModelParams) -> list[Frame]:
    """The frames of a video in order, not yet numbered."""
    content, frames = read_transforms(video / FILE)
    return [
        _read_frame(video, where, {**content, **frame}, head, params)
        for where, frame in in_order(video / FILE, frames)
    ]


def _read_frame(
    video: Path, where: str, entry: Content, head: FlameHead, params: ModelParams
) -> Frame:
    image = _image(video, where, entry, params)
    expression = coefficients(where, entry, "expression")
    flame_pose = coefficients(where, entry, "pose", 15)
    return Frame(
        _camera(where, entry, image, params),
        index=0,
        time=0.0,
        image_path=image,
        mask=_mask(video, image, params),
        expression=expression,
        flame_pose=flame_pose,
        head_to_world=head.stands(flame_pose, expression),
    )


def _image(video: Path, where: str, entry: Content, params: ModelParams) -> Path:
    """The picture that file_path names, or where its folder is missing, that of SplattingAvatar's."""
    image, renamed = picture(video / FILE, where, entry, params.extension), video / "images"
    return renamed / image.name if renamed.is_dir() and not image.parent.is_dir() else image


def _camera(where: str, entry: Content, image: Path, params: ModelParams) -> Camera:
    """The camera that sees (X, Y, Z), which is world_mat times a point, at (fx X, fy Y) / Z + c.

    Z is negative before it, so a negative fx is that of an x axis to the right.
    """
    width, height = image_size(image)
    w2c, K = pose(where, entry, "world_mat", rows=3), signed_intrinsics(where, entry, width, height)
    K[0, 0] = -K[0, 0]
    with camera_of(f"{where}: 'world_mat'", "mend or remove the frame"):
        camera = Camera.from_opengl_w2c(w2c, K, width, height)
    return camera.resized(*target_size(width, height, params.resolution))


def _mask(video: Path, image: Path, params: ModelParams) -> Mask | None:
    if params.part == "all":
        return None
    name, keep = MASKS[params.part]
    need_folder(video / name, params)
    return Mask(video / name / f"{image.stem}.png", keep)
