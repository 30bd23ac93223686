"""Stream pictures into an mp4 file that any browser plays."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from torch import Tensor

from utils.errors import InputError
from utils.files import replacing
from utils.images import Pixels, make_folder, to_pixels

ENCODER_FLAGS = [
    *("-vcodec", "libx264", "-pix_fmt", "yuv420p", "-crf", "17", "-preset", "medium"),
    # The colour matrix is said in the file: players guess it from the size otherwise.
    *("-vf", "scale=out_color_matrix=bt709:out_range=tv"),
    *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"),
    # The same frames give the same bytes: a fixed number of threads, no dates, no version strings.
    *("-threads", "2", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1"),
    *("-movflags", "+faststart"),  # playback starts before the file is loaded
]


class VideoWriter:
    """`with VideoWriter(path, fps=30) as video: video.add(image)` writes H.264, yuv420p.

    The file appears when the block ends well; without a picture there is none. Odd sizes get one
    more row or column, which that pixel format needs. Raises InputError where there is no encoder
    or the file cannot be written.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self.fps = path, fps
        self._open_things = ExitStack()
        self._send: Callable[[Pixels], object] | None = None
        self._shape: tuple[int, ...] | None = None

    def __enter__(self) -> VideoWriter:
        return self

    def add(self, image: Tensor | Pixels) -> None:
        """Append a picture: float (3, H, W) in [0, 1] or uint8 (H, W, 3), all of one size."""
        pixels = to_pixels(image)
        expected = self._shape or (*pixels.shape[:2], 3)
        if pixels.shape != expected:
            raise ValueError(f"{self.path}: the frame is {pixels.shape}; expected {expected}")
        height, width, _ = pixels.shape
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._send is None:
            self._shape = expected
            command = _command(pixels.shape[1], pixels.shape[0], self.fps)
            make_folder(self.path.parent)
            temporary = self._open_things.enter_context(replacing(self.path))
            self._send = self._open_things.enter_context(_encoding([*command, str(temporary)]))
        self._send(np.ascontiguousarray(pixels))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # `replacing` is among these: it keeps the file, or throws it away after an error.
        self._open_things.__exit__(kind, error, trace)


@contextmanager
def _encoding(command: list[str]) -> Iterator[Callable[[Pixels], object]]:
    """Run an ffmpeg that reads raw frames; yields what takes them. OSError says why it failed."""
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=messages)
        try:
            yield process.stdin.write
        except BrokenPipeError:
            _finish(process, messages)  # it ended early: its own words come first
            raise
        except BaseException:
            process.kill()
            process.communicate()
            raise
        _finish(process, messages)


def _finish(process: subprocess.Popen, messages: IO[bytes]) -> None:
    process.communicate()  # ends the stream and waits
    if process.returncode:
        messages.seek(0)
        said = messages.read().decode(errors="replace").strip().splitlines()
        raise OSError(f"ffmpeg: {said[-1] if said else f'exit code {process.returncode}'}")


def find_ffmpeg() -> str:
    """The path of an ffmpeg program; InputError says how to get one."""
    try:
        import imageio_ffmpeg  # here: only those who make or read a video need it

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise InputError(
            f"there is no ffmpeg for videos ({error}); run: pip install imageio-ffmpeg"
        ) from error


def _command(width: int, height: int, fps: float) -> list[str]:
    """All of the ffmpeg command but the file it writes."""
    frames = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps)]
    return [find_ffmpeg(), "-nostdin", "-y", "-v", "error", *frames, "-i", "-", *ENCODER_FLAGS]
