"""Stream pictures into an mp4 file that any browser plays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np
from torch import Tensor

from utils.errors import InputError
from utils.files import replacing
from utils.images import Pixels, make_folder, to_pixels

ENCODER_FLAGS = [
    *("-crf", "17", "-preset", "medium"),
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
            make_folder(self.path.parent)
            temporary = self._open_things.enter_context(replacing(self.path))
            self._send = self._open_things.enter_context(_encoding(temporary, self.fps))
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
def _encoding(path: Path, fps: float) -> Iterator[Callable[[Pixels], object]]:
    """Yield what takes frames; OSError where the encoder did not write all of the file."""
    find_ffmpeg()
    import imageio.v2 as imageio  # here: only those who make a video need it

    writer = imageio.get_writer(
        path, format="FFMPEG", mode="I", fps=fps, codec="libx264", pixelformat="yuv420p",
        macro_block_size=1, output_params=list(ENCODER_FLAGS), ffmpeg_log_level="quiet",
    )  # fmt: skip
    try:
        yield writer.append_data
    except OSError:
        raise OSError("ffmpeg: it ended before the last picture") from None
    finally:
        writer.close()
    if not _is_whole(path):
        raise OSError("ffmpeg: it could not write all pictures")


def _is_whole(path: Path) -> bool:
    """Whether the boxes of an mp4 file fill it, an index among them: imageio does not ask how
    ffmpeg ended."""
    kinds, at = set(), 0
    if not path.is_file():
        return False
    with path.open("rb") as file:
        while len(head := file.read(16)) >= 8:
            size = int.from_bytes(head[:4], "big")
            size = int.from_bytes(head[8:], "big") if size == 1 else size
            kinds.add(head[4:8])
            at += max(size, 8)
            file.seek(at)
    return b"moov" in kinds and at == path.stat().st_size


def find_ffmpeg() -> str:
    """The path of an ffmpeg program; InputError says how to get one."""
    try:
        import imageio_ffmpeg  # here: only those who make or read a video need it

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise InputError(
            f"there is no ffmpeg for videos ({error}); run: pip install imageio-ffmpeg"
        ) from error
