"""Views of other sides for every frame of a video: scripts/make_anchors.py DATA --pipeline FOLDER

DATA is a folder of numbered pictures, or holds them in `ref`; the views go to DATA/zero123, where
the reader of `rgba_video` looks for them. Six views of a frame are made by Zero123++, from weights
in a local folder. Frames that are done are skipped; a folder appears when it is whole.

The subject is what the frames' alpha says, or a folder of masks with the frames' names, or rembg
where it is installed. The views' own alpha is told from their grey background.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.threads  # isort: skip  # noqa: F401  (must come before torch)

import argparse

import cv2
import numpy as np
import torch
from tqdm import tqdm

from scene.datasets._files import natural, pictures
from scripts.generate.zero123plus import GREY, STEPS, Zero123Plus
from utils.devices import choose_device, describe
from utils.errors import InputError, run_command
from utils.files import new_folder
from utils.images import Pixels, read_image, read_matte, to_pixels, to_tensor, write_image

OUT = "zero123"
NEAR = 14  # levels from grey that still are background
OPAQUE = 255


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the video's frames")
    parser.add_argument("--pipeline", type=Path, required=True, help="folder of the weights")
    parser.add_argument("--masks", type=Path, help="folder of masks, white where the subject is")
    parser.add_argument("--steps", type=int, default=STEPS, help="of denoising a frame's views")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args()
    run_command(lambda: make(args), debug=args.debug)


def make(args: argparse.Namespace) -> None:
    """Write what is missing of the views."""
    frames = frames_of(args.data)
    missing = [f for f in frames if not (args.data / OUT / f.stem).is_dir()]
    if not missing:
        print(f"{args.data / OUT}: all {len(frames)} frames are done")
        return
    shown = {frame: subject(frame, args.masks) for frame in (frames[0], *missing)}
    device = choose_device(args.device)
    print(f"device: {describe(device)}")
    generator = load(args.pipeline, device, args.steps)
    first = generator.views(shown[frames[0]], first=True)  # later frames follow it
    print(
        f"memory: {generator.bank.bytes / 2**20:,.0f} MiB for what later frames follow; time: "
        f"{generator.seconds * args.steps / 60:.1f} minutes a frame, {len(missing)} frames"
    )
    for frame in tqdm(missing, "views", disable=None):
        views = first if frame == frames[0] else generator.views(shown[frame], first=False)
        remedy = "make room and run the same command again: it goes on with this frame"
        with new_folder(args.data / OUT / frame.stem, remedy) as part:
            for k, view in enumerate(views):
                write_image(part / f"{k}.png", cut_out(to_pixels(view)))


def load(folder: Path, device: torch.device, steps: int) -> Zero123Plus:
    """The generator; a seam for tests, whose weights make smaller views."""
    return Zero123Plus(folder, device, steps=steps)


def frames_of(data: Path) -> list[Path]:
    """The pictures of the video, first to last; InputError where there are none."""
    folder = data / "ref" if (data / "ref").is_dir() else data
    found = sorted(pictures(folder), key=lambda path: natural(path.name))
    if not found:
        raise InputError(f"{folder}: no PNG or JPEG file here; expected the frames of a video")
    return found


def subject(frame: Path, masks: Path | None) -> torch.Tensor:
    """(3, H, W) in [0, 1] the frame's subject on grey, as the generator wants it shown.

    Raises InputError where nothing says what the subject is, or the picture is not square.
    """
    pixels = read_image(frame)
    height, width = pixels.shape[:2]
    if height != width:
        raise InputError(
            f"{frame}: it has {width}x{height} pixels; the generator wants squares with the "
            "subject in the middle: crop or pad all frames alike"
        )
    color = to_tensor(pixels)[:3]
    alpha = to_tensor(matte(frame, pixels, masks)[..., None])
    return torch.lerp(torch.full_like(color, GREY), color, alpha)


def matte(frame: Path, pixels: Pixels, masks: Path | None) -> Pixels:
    """(H, W) of 255 where the subject is."""
    if masks is not None:
        named = [path for path in pictures(masks) if path.stem == frame.stem]
        if not named:
            raise InputError(f"{masks}: no mask named {frame.stem}; each frame needs one")
        return read_matte(named[0])
    if pixels.shape[2] == 4 and pixels[..., 3].min() < OPAQUE:
        return pixels[..., 3]
    try:
        from rembg import remove
    except ImportError:
        raise InputError(
            f"{frame}: nothing says what its subject is; give pictures with alpha, or --masks "
            "FOLDER, or install rembg, which downloads weights of its own"
        ) from None
    return np.asarray(remove(pixels[..., :3], only_mask=True))


def cut_out(view: Pixels) -> Pixels:
    """RGBA of a view (H, W, 3) on grey: background is what is near grey and reaches the border."""
    apart = np.abs(view.astype(np.int16) - round(255 * GREY)).max(2)
    grey = cv2.morphologyEx((apart <= NEAR).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3)))
    count, labels = cv2.connectedComponents(grey, connectivity=4)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    outside = np.zeros(count, bool)
    outside[np.unique(border)] = True
    outside[0] = False  # what is not near grey
    alpha = np.where(outside[labels], 0, OPAQUE).astype(np.uint8)
    return np.dstack([view, alpha])


if __name__ == "__main__":
    main()
