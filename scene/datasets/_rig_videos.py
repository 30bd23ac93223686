"""The videos of a rig, and the pictures that are extracted of them, once for each size."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import cv2
from tqdm import tqdm

from scene.cameras import Camera, target_size
from scene.datasets._files import natural, pictures
from scene.world import Placed
from utils.errors import InputError
from utils.files import regular
from utils.video_frames import extract_frames

MAX_STRETCH = 0.01  # between width and height, of pictures that were resized before


@dataclass(frozen=True)
class Video:
    """A camera's video, and the folder that its pictures go to, at most width x height each."""

    file: Path
    folder: Path
    width: int
    height: int
    camera: Camera  # as calibrated

    def misfit(self) -> str:
        """What is wrong with the shape of its pictures, turned as the file says; else nothing."""
        capture = cv2.VideoCapture(str(self.file), cv2.CAP_FFMPEG)
        good, first = capture.read()
        capture.release()
        if not good:
            return ""
        (height, width), wanted = first.shape[:2], self.camera
        if abs(width * wanted.height / (height * wanted.width) - 1) <= MAX_STRETCH:
            return ""
        return (
            f"{self.file}: it has {width}x{height} pixels when upright, the rig was calibrated for "
            f"another shape, {wanted.width}x{wanted.height}; turn the video or calibrate again"
        )


def videos_of(path: Path, cameras: dict[str, Camera], params: Placed) -> dict[str, Video]:
    """The videos, by camera, that stand for pictures which the folder does not have itself."""
    found, files = {}, video_files(path)
    for name, camera in cameras.items():
        if pictures(pictures_folder(path, name)):
            continue
        if name not in files:
            raise InputError(
                f"{path / name / 'images'}: no PNG or JPEG file here, and no video {name}.mp4; "
                "each camera needs one of them"
            )
        regular(files[name])
        size = target_size(camera.width, camera.height, params.resolution)
        found[name] = Video(files[name], _folder(files[name], size, params), *size, camera)
    return found


def video_files(path: Path) -> dict[str, Path]:
    """The videos by their camera's name, in order."""
    found = [p for p in path.iterdir() if re.fullmatch(r"cam.*\.mp4", p.name, re.IGNORECASE)]
    return {p.stem: p for p in sorted(found, key=lambda p: natural(p.stem))}


def pictures_folder(path: Path, name: str) -> Path:
    """Where a camera's pictures are; 4DGaussians has no folder images."""
    images = path / name / "images"
    return path / name if not images.is_dir() and pictures(path / name) else images


def extract(videos: list[Video]) -> None:
    missing = [video for video in videos if not video.folder.is_dir()]
    for misfit in filter(None, (video.misfit() for video in missing)):
        raise InputError(misfit)
    bar = tqdm(missing, unit="camera", disable=not missing)
    for video in bar:
        size = f"{video.width}x{video.height}"
        bar.set_description(f"extracting {video.file.name} at {size} or its own size")
        extract_frames(video.file, video.folder, video.width, video.height)


def _folder(file: Path, size: tuple[int, int], params: Placed) -> Path:
    """Where the pictures of a video go: nobody writes into a dataset, and no size is mistaken."""
    known = file.stat()
    words = f"{file.resolve()} {known.st_size} {known.st_mtime_ns} {size}"
    key = f"{file.stem}_{size[0]}x{size[1]}_{sha256(words.encode()).hexdigest()[:16]}"
    beside = Path(params.model_path).parent if params.model_path else Path("output")
    return beside / "video_frames" / key
