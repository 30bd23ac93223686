"""IMavatar folders, which PointAvatar, MonoGaussianAvatar and SplattingAvatar read too: a folder
per video with `flame_params.json`, world-to-camera matrices in OpenGL axes, FLAME's numbers per
frame, in a world of FLAME's metres times four (Zheng et al., "I M Avatar", CVPR 2022)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from arguments.settings import about, at_least, setting
from scene import Scene, Subject
from scene.cameras import Camera
from scene.datasets._entry import Entry, read_object
from scene.datasets._files import natural
from scene.datasets._flame_heads import FlameHead, in_world
from scene.datasets._heads import (
    HEAD_LABELS,
    MAX_RELATIVE_CENTER,
    TORSO_LABELS,
    coefficients,
    in_order,
    need_folder,
    signed_intrinsics,
    split_video,
)
from scene.datasets._moments import time_of
from scene.datasets._settings import Extension, HoldOut, MouthBox, MovingHead, part_of
from scene.datasets._torso import with_torso
from scene.datasets._transforms import picture, read_transforms, straightened
from scene.frames import Frame, Mask, Parsing
from scene.world import Placed
from utils.errors import InputError
from utils.images import image_size

LOOKED_FOR = "flame_params.json, here or one folder per video down"
FILE = "flame_params.json"
SCALE = 4.0  # world units per metre
UNSEEN = 512  # pixels of a side of pictures that nobody looks for: the published size
PUBLISHED_TEST = 350  # frames at the end of a subject of one video (SplattingAvatar)
MASKS = {"person": ("mask", ()), "head": ("semantic", HEAD_LABELS)}  # folder beside image/, colours


@dataclass(frozen=True)
class DataParams(Extension, HoldOut, MouthBox, MovingHead):
    """How a subject in the layout of IMavatar is read."""

    part: str = part_of("all", "person", "head")
    test_videos: list[str] = field(
        default_factory=list,
        metadata=about(
            "video folders that are held out; none: those named test..., and without these the "
            "last frames of all, as hold_out says"
        ),
    )
    torso_points: int = setting(
        0,
        "starting points on the torso's outline, blown up, where the camera stands still, "
        "fixed_head is set and the folder has a head model; for a body that is to be turned",
        valid=at_least(0),
    )
    only_json: bool = setting(
        False, "look for no pictures: what is enough to drive an avatar, and --drive does by itself"
    )


def recognise(path: Path) -> str:
    videos = _videos(path)
    return f"{FILE} of {len(videos)} videos" if videos else ""


def read(path: Path, params: Placed, data: DataParams) -> Scene:
    """Read the subject's videos; those that `data.test_videos` says are held out."""
    videos = _videos(path)
    if not videos:
        raise InputError(
            f"{path}: no {FILE} here or one folder down; name the subject's folder with -s"
        )
    held_out = _held_out(path, videos, data.test_videos)
    training = [video for video in videos if video not in held_out]
    head = FlameHead.of(_subject(training[-1] / FILE), data, path)
    head = _held_against(head, training[-1], params, data)
    taken, tested = (
        [frame for video in some for frame in _read_video(video, head, params, data)]
        for some in (training, held_out)
    )
    count = len(taken) + len(tested)
    frames = [
        replace(frame, index=row, time=time_of(row, count))
        for row, frame in enumerate(in_world(taken + tested, data))
    ]
    if held_out:
        train, test = frames[: len(taken) if params.eval else count], frames[len(taken) :]
    else:
        train, test = split_video(frames, params, data, PUBLISHED_TEST)
    scene = head.scene(train, test, params, data)
    first = scene.train[0]
    if not data.torso_points or first.body_to_world is None or head.model is None:
        return scene
    neck, mouth = head.neck(first.expression), scene.regions["mouth"]
    points = with_torso(scene.points, first, mouth, neck, SCALE, data.torso_points)
    return replace(scene, points=points)


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


def _held_out(path: Path, videos: list[Path], wanted: list[str]) -> list[Path]:
    """The videos named by the user, else those named test...; none of a subject of one video."""
    names = [video.name for video in videos]
    strange = [name for name in wanted if name not in names]
    if strange:
        raise InputError(
            f"{path}: test_videos names {strange[0]!r}; its videos are {', '.join(names)}"
        )
    found = [v for v in videos if v.name in wanted]
    found = found or [v for v in videos if v.name.startswith("test") and len(videos) > 1]
    if len(found) == len(videos):
        raise InputError(
            f"{path}: all its videos are held out ({', '.join(names)}); "
            "leave one to train on with test_videos"
        )
    return found


def _subject(file: Path) -> Subject:
    return Subject(coefficients(read_object(file), "shape_params"), SCALE)


def _held_against(head: FlameHead, video: Path, params: Placed, data: DataParams) -> FlameHead:
    """The head, with a word where the file's own landmarks say that it is another model's."""
    entry = in_order(read_transforms(video / FILE)[1])[0]
    if head.model is None or head.subject.misfit or "flame_keypoints" not in entry:
        return head
    frame = _read_frame(video, entry, head, params, data)
    size = torch.tensor([frame.camera.width, frame.camera.height])
    keypoints = (entry.numbers("flame_keypoints", (-1, 2)).float() + 1) / 2 * size
    subject = replace(head.subject, misfit=head.unlike(frame, keypoints))
    return replace(head, subject=subject)


def _read_video(video: Path, head: FlameHead, params: Placed, data: DataParams) -> list[Frame]:
    """The frames of a video in order, not yet numbered."""
    frames = in_order(read_transforms(video / FILE)[1])
    return [_read_frame(video, entry, head, params, data) for entry in frames]


def _read_frame(
    video: Path, entry: Entry, head: FlameHead, params: Placed, data: DataParams
) -> Frame:
    if data.only_json:
        image, mask, size = None, None, _unseen(entry)
    else:
        image = _image(video, picture(video / FILE, entry, data.extension))
        mask, size = _mask(video, image, data.part), image_size(image)
    camera = _camera(entry, size)
    expression, pose = coefficients(entry, "expression"), coefficients(entry, "pose", 15)
    codes = {"expression": expression, "flame_pose": pose}
    codes["head_to_world"] = head.stands(pose, expression)
    parsing = image and video / MASKS["head"][0] / f"{image.stem}.png"
    if parsing and parsing.is_file():
        codes["parsing"] = Parsing(parsing, HEAD_LABELS, TORSO_LABELS)
    frame = Frame(camera.at(params.resolution), 0, 0.0, image, mask, **codes)
    return straightened(frame, entry, camera)


def _unseen(entry: Entry) -> tuple[int, int]:
    """Width and height of a picture that nobody looks for, by its principal point."""
    cx, cy = entry.numbers("intrinsics", (4,)).tolist()[2:]
    in_parts = max(cx, cy) <= MAX_RELATIVE_CENTER
    return (UNSEEN, UNSEEN) if in_parts else (round(2 * cx), round(2 * cy))


def _image(video: Path, image: Path) -> Path:
    """The picture that the file names; where its folder is missing, that of SplattingAvatar's."""
    renamed = video / "images"
    return renamed / image.name if renamed.is_dir() and not image.parent.is_dir() else image


def _camera(entry: Entry, size: tuple[int, int]) -> Camera:
    """The camera that sees (X, Y, Z), which is world_mat times a point, at (fx X, fy Y) / Z + c.

    Z is negative before it, so a negative fx is that of an x axis to the right.
    """
    K = signed_intrinsics(entry, *size)
    if K[0, 0] > 0 and torch.linalg.det(entry.pose("world_mat", rows=3)[:3, :3]) > 0:
        raise InputError(
            f"{entry.where}: 'intrinsics' begins with {float(K[0, 0]):g}; in this layout fx is "
            "negative beside a 'world_mat' that does not mirror: give it that sign"
        )
    K[0, 0] = -K[0, 0]
    return entry.camera("world_mat", Camera.from_opengl_w2c, K, size, rows=3)


def _mask(video: Path, image: Path, part: str) -> Mask | None:
    if part == "all":
        return None
    name, keep = MASKS[part]
    need_folder(video / name, part)
    return Mask(video / name / f"{image.stem}.png", keep)
