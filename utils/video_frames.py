"""The pictures of a video file, written once as a folder, and their rate."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import cv2

from utils.errors import InputError
from utils.files import new_folder, regular
from utils.video import find_ffmpeg

MAX_RATE = 1_000  # pictures per second; some files say nonsense


def extract_frames(video: Path, folder: Path, width: int, height: int) -> None:
    """Write every picture of `video` as folder/0000.png, 0001.png, ..., of at most width x height.

    A smaller video keeps its size. `folder` appears whole or not at all. Raises InputError where
    the video cannot be decoded or the folder cannot be written.
    """
    regular(video)
    # Area averaging: the mean over what a pixel covers, as everywhere where pictures shrink here.
    size = f"w='min(iw,{width})':h='min(ih,{height})'"
    command = [find_ffmpeg(), "-nostdin", "-v", "error", "-xerror", "-i", str(video.resolve())]
    command += ["-vf", f"scale={size}:flags=area", "-fps_mode", "passthrough"]
    # zlib's quickest level: a third to a sixth of the time for 4 to 8 % more bytes, and no loss.
    command += ["-compression_level", "1", "-start_number", "0", "%04d.png"]
    own = f"extract the pictures of {video.name} yourself to 0000.png, 0001.png, ..."
    with new_folder(folder, f"make the folder writable, or {own}") as part:
        run = subprocess.run(command, cwd=part, capture_output=True, check=False)
        if run.returncode and shutil.disk_usage(part).free < 3 * width * height:
            raise InputError(
                f"{folder}: the disk is full, {len(list(part.iterdir()))} pictures of {video.name} "
                "fit; free some space, or choose a smaller size with -r"
            )
        if run.returncode or not any(part.iterdir()):
            said = run.stderr.decode(errors="replace").strip().splitlines()
            reason = said[-1] if said else "it holds no pictures"
            raise InputError(f"{video}: cannot be decoded ({reason}); copy it again")


def frame_rate(video: Path) -> float | None:
    """Pictures per second, as the file says; None where it does not."""
    regular(video)
    capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)
    rate = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return rate if 0 < rate < MAX_RATE else None
