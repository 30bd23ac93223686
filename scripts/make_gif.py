"""A small moving picture of what render.py drew: `python scripts/make_gif.py VIDEO.mp4 OUT.gif`."""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.terminal import begin_command, started  # isort: skip

if __name__ == "__main__":
    begin_command()

import utils.threads  # isort: skip  # noqa: F401  (too little memory is one line)

import imageio.v2 as imageio
from PIL import Image

from utils.errors import InputError, run_command
from utils.files import reading, regular, replacing, user_path
from utils.video import find_ffmpeg

COLORS = (255, 192, 128, 96, 64, 48, 32)  # tried in turn until the file is small enough
TICK = 10  # milliseconds; GIFs count in hundredths of a second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=user_path)
    parser.add_argument("out", type=user_path)
    parser.add_argument("--width", type=int, default=200, help="pixels")
    parser.add_argument("--every", type=int, default=2, help="takes each such frame")
    parser.add_argument("--megabytes", type=float, default=2.0, help="that the file may have")
    args = parser.parse_args()
    run_command(lambda: make_gif(**vars(args)), debug=False)


def make_gif(video: Path, out: Path, *, width: int, every: int, megabytes: float) -> None:
    """Write `out`, with as many colours as fit; InputError where even few are too many."""
    if width < 1 or every < 1:
        raise InputError(f"--width {width}, --every {every}: expected at least 1")
    frames, fps = _frames(video, width, every)
    for colors in COLORS:
        # One palette for all frames: what stands still is then the same, and costs nothing.
        palette = _montage(frames).quantize(colors)
        shown = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
        file = io.BytesIO()
        shown[0].save(
            file, "GIF", save_all=True, append_images=shown[1:], loop=0, optimize=False,
            duration=max(2, round(1000 * every / fps / TICK)) * TICK,
        )  # fmt: skip
        size = len(file.getvalue()) / 1e6
        if size > megabytes:
            continue
        with replacing(out) as part:
            part.write_bytes(file.getvalue())
        print(f"{out}: {len(shown)} frames, {colors} colours, {size:.2f} MB")
        return
    raise InputError(
        f"{video}: {size:.1f} MB in {COLORS[-1]} colours; lower --width, raise --every"
    )


def _frames(video: Path, width: int, every: int) -> tuple[list[Image.Image], float]:
    """Every so manieth frame at that width, and the video's frames a second."""
    regular(video)
    find_ffmpeg()
    with reading(video, "a video"), imageio.get_reader(video, format="FFMPEG") as reader:
        fps = reader.get_meta_data()["fps"]
        pictures = [Image.fromarray(f) for k, f in enumerate(reader) if k % every == 0]
        height = max(1, round(pictures[0].height * width / pictures[0].width))
        return [picture.resize((width, height)) for picture in pictures], fps


def _montage(frames: list[Image.Image]) -> Image.Image:
    """Some of the frames side by side: the colours of all of them."""
    some = frames[:: max(1, len(frames) // 8)]
    sheet = Image.new("RGB", (len(some) * some[0].width, some[0].height))
    for k, frame in enumerate(some):
        sheet.paste(frame, (k * frame.width, 0))
    return sheet


if __name__ == "__main__":
    started()
    main()
