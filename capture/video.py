"""The frames of a video file with their times: every frame once, upright, thinned to a rate."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from utils.errors import InputError
from utils.files import regular
from utils.images import Pixels
from utils.video import find_ffmpeg

TURNS = {
    0: None,
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}
HDR = ("smpte2084", "arib-std-b67")  # transfer functions of PQ and HLG
THUMBNAIL = 64  # pixels
CUT, CUT_TIMES = 30.0, 8.0  # levels of 255 between thumbnails; times their median
VARIABLE = 0.2  # parts of a frame by which its time may leave the beat
TO_SDR = "zscale=t=linear:npl=100,tonemap=hable,zscale=p=bt709:t=bt709:m=bt709:r=tv,format=yuv420p"


@dataclass(frozen=True)
class Source:
    """A video file, and which of its frames are wanted."""

    path: Path
    fps: float = 25.0  # the most that is taken; 0: every frame
    start: float = 0.0  # seconds
    end: float = 0.0  # seconds; 0: to the end
    rotate: int = 0  # degrees clockwise

    def frames(self) -> Iterator[tuple[float, Pixels]]:
        """Seconds and picture (H, W, 3) RGB of each kept frame.

        Files may say that they are to be shown turned: OpenCV does it. Raises InputError where the
        file cannot be decoded.
        """
        regular(self.path)
        capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        try:
            yield from self._kept(capture)
        finally:
            capture.release()

    def _kept(self, capture: cv2.VideoCapture) -> Iterator[tuple[float, Pixels]]:
        number, last = 0, None
        while True:
            good, pixels = capture.read()
            if not good:
                break
            time = capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
            number += 1
            if time < self.start or (self.end and time >= self.end):
                continue
            slot = number if not self.fps else int(np.floor(time * self.fps + 0.5))
            if slot == last:
                continue
            last = slot
            if TURNS[self.rotate] is not None:
                pixels = cv2.rotate(pixels, TURNS[self.rotate])
            yield time, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        if not number:
            raise InputError(
                f"{self.path}: no picture in it can be decoded; is it a video? Convert it to mp4 "
                "(H.264) and try again"
            )


def is_hdr(path: Path) -> bool:
    """Whether the file's colours are those of HDR video, by what ffmpeg says of its stream."""
    return any(word in stream_line(path) for word in HDR)


def stream_line(path: Path) -> str:
    """ffmpeg's line about the video stream; "" where it says nothing."""
    run = subprocess.run(
        [find_ffmpeg(), "-hide_banner", "-nostdin", "-i", str(path.resolve())],
        capture_output=True,
        check=False,
    )
    said = run.stderr.decode(errors="replace")
    return next(iter(re.findall(r"Stream #.*Video:.*", said)), "")


def to_sdr(path: Path, out: Path) -> bool:
    """Write the video with ordinary colours to `out`; False where this ffmpeg cannot."""
    part = out.with_name(f"part_{out.name}")  # a killed run must leave nothing that looks whole
    command = [find_ffmpeg(), "-nostdin", "-v", "error", "-y", "-i", str(path.resolve()), "-an"]
    command += ["-vf", TO_SDR, "-fps_mode", "passthrough", "-crf", "14", str(part)]
    done = subprocess.run(command, capture_output=True, check=False).returncode == 0
    if done:
        os.replace(part, out)
    part.unlink(missing_ok=True)
    return done


def thumbnail(pixels: Pixels) -> np.ndarray:
    """(64, 64) grey levels, float32."""
    small = cv2.resize(pixels, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)


def takes(difference: np.ndarray) -> list[slice]:
    """Runs of frames without a cut, from how much each frame (T,) differs from the one before."""
    if not len(difference):
        return []
    threshold = max(CUT, CUT_TIMES * float(np.median(difference)))
    cuts = [0, *np.flatnonzero(difference > threshold).tolist(), len(difference)]
    return [slice(a, b) for a, b in pairwise(cuts) if b > a]


def rate(times: np.ndarray) -> float:
    """Frames a second of times (T,) in seconds, by their median distance; 25 for a single one."""
    return float(1 / np.median(np.diff(times))) if len(times) > 1 else 25.0


def is_variable(times: np.ndarray) -> bool:
    """Whether the times (T,) leave an even beat by more than a fifth of its length.

    A video that was thinned to a rate that is no part of its own keeps the beat.
    """
    if len(times) < 3:
        return False
    beat = np.arange(len(times))
    off = times - np.polyval(np.polyfit(beat, times, 1), beat)
    return float(np.std(off)) > VARIABLE * float(np.median(np.diff(times)))
