"""Train on a long clip and report the peak memory: python scripts/bench/memory.py LAYOUT [--frames
N]

    clip      D-NeRF folder of 2,000 RGBA pictures, 800x800
    pictures  Neu3D rig of 20 cameras x 300 pictures, 1352x1014
    videos    the same rig as 20 mp4 files

The folder is made in a temporary one, of hard links to a few grainy pictures, which compress as
badly as photographs, or to one video of them; the pictures of the videos take 16 GB there. Other
options are those of train.py. Exit code 1 where the peak passes the layout's limit or 1.2 times
what was announced.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.tiny_scene import ANGLE, RADIUS, draw, look_at_origin  # noqa: E402
from utils.images import Pixels, write_image  # noqa: E402
from utils.video import VideoWriter  # noqa: E402

N_PICTURES = 8  # different ones; the others are hard links to them
GRAIN = 20  # levels to either side
CLIP_SIZE = 800
RIG_WIDTH, RIG_HEIGHT, N_CAMERAS = 1352, 1014, 20
MIB, GB = 2**20, 1000**3
MARGIN = 1.2  # of the announced bound
SAMPLE_SECONDS = 0.2
FLAGS = "--device cpu --coarse_iterations 50 --densify_from_iter 20 --densification_interval 20"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("layout", choices=LAYOUTS)
    parser.add_argument("--frames", type=int, help="of the training split, or of every camera")
    args, rest = parser.parse_known_args()
    layout = LAYOUTS[args.layout]
    frames = args.frames or layout.frames
    with tempfile.TemporaryDirectory() as temporary:
        scene, model = Path(temporary) / "scene", Path(temporary) / "model"
        layout.write(scene, frames)
        flags = [*FLAGS.split(), *layout.flags.split(), *rest]
        begin = time.monotonic()
        code, said, together = watched(["train.py", "-s", str(scene), "-m", str(model), *flags])
        seconds = time.monotonic() - begin
    print(said)
    if code:
        return code
    peak = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    together = max(together, peak)  # samples miss short peaks
    bound = MIB * int(re.search(r"at most ([\d,]+) MiB", said)[1].replace(",", ""))
    print(
        f"{args.layout}, {frames} frames: peak of the largest process {peak / MIB:,.0f} MiB, of "
        f"all together {together / MIB:,.0f} MiB, announced {bound / MIB:,.0f} MiB, {seconds:.0f} s"
    )
    return int(together > layout.limit or peak > MARGIN * bound)


def watched(command: list[str]) -> tuple[int, str, int]:
    """Run a Python command; its exit code, what it said, and the most bytes its processes held at
    once."""
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    together = 0
    while True:
        try:
            said, _ = process.communicate(timeout=SAMPLE_SECONDS)
            return process.returncode, said, together
        except subprocess.TimeoutExpired:
            together = max(together, resident(process.pid))


def resident(session: int) -> int:
    """Bytes in memory of all processes of a session, as Linux tells (proc(5), stat); else 0."""
    pages = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        pages += int(fields[21]) if int(fields[3]) == session else 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def write_clip(folder: Path, n_frames: int) -> None:
    """A D-NeRF folder whose training split has `n_frames` pictures."""
    rng = np.random.default_rng(0)
    for split, count in {"train": n_frames, "test": N_PICTURES}.items():
        poses = [look_at_origin(rng.uniform(-math.pi, math.pi), 0.5) for _ in range(N_PICTURES)]
        paths = [folder / split / f"r_{k:04d}.png" for k in range(count)]
        write_linked(paths, [draw(p, k / N_PICTURES, CLIP_SIZE) for k, p in enumerate(poses)])
        frames = [
            {
                "file_path": f"./{split}/{path.stem}",
                "time": k / count,
                "transform_matrix": poses[k % N_PICTURES].tolist(),
            }
            for k, path in enumerate(paths)
        ]
        content = {"camera_angle_x": ANGLE, "frames": frames}
        (folder / f"transforms_{split}.json").write_text(json.dumps(content))


def write_pictures(folder: Path, n_frames: int) -> None:
    """A Neu3D folder with `n_frames` pictures of each camera."""
    names = write_rig(folder)
    paths = [folder / name / "images" / f"{k:04d}.png" for name in names for k in range(n_frames)]
    write_linked(paths, film(N_PICTURES))


def write_videos(folder: Path, n_frames: int) -> None:
    """A Neu3D folder with a video of `n_frames` pictures of each camera."""
    first, *others = [folder / f"{name}.mp4" for name in write_rig(folder)]
    with VideoWriter(first, fps=30) as video:
        for picture in film(n_frames):
            video.add(grainy(picture))
    for path in others:
        os.link(first, path)


def write_rig(folder: Path) -> list[str]:
    """poses_bounds.npy of cameras on an arc, calibrated at the release's full size; their names."""
    folder.mkdir()
    size = [2 * RIG_HEIGHT, 2 * RIG_WIDTH, RIG_WIDTH / math.tan(ANGLE / 2)]
    rows = []
    for azimuth in np.linspace(-0.5, 0.5, N_CAMERAS):
        right, up, back, center = look_at_origin(azimuth, 0.5)[:3].T
        pose = np.stack([-up, right, back, center, size], axis=1)
        rows.append([*pose.ravel(), RADIUS / 2, 2 * RADIUS])
    np.save(folder / "poses_bounds.npy", np.array(rows))
    return [f"cam{k:02d}" for k in range(N_CAMERAS)]


def film(count: int) -> Iterator[Pixels]:
    """Pictures of a box that slides before a grey wall."""
    top = (RIG_WIDTH - RIG_HEIGHT) // 2
    for k in range(count):
        picture = draw(look_at_origin(0, 0.5), k / count, RIG_WIDTH)[top : top + RIG_HEIGHT]
        yield np.where(picture[..., 3:] > 0, picture[..., :3], np.uint8(128))


def write_linked(paths: list[Path], pictures: Iterable[Pixels]) -> None:
    """Write the pictures, with grain, and link them to the other paths, over and over."""
    originals: list[Path] = []
    for path, picture in zip(paths, pictures, strict=False):
        write_image(path, grainy(picture))
        originals.append(path)
    for k, path in enumerate(paths[len(originals) :], start=len(originals)):
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(originals[k % len(originals)], path)


def grainy(picture: Pixels) -> Pixels:
    """The colours with the same noise in every picture: what stands still does so in a video,
    too."""
    noise = np.random.default_rng(0).integers(-GRAIN, GRAIN, (*picture.shape[:2], 3), endpoint=True)
    return np.dstack([np.clip(picture[..., :3] + noise, 0, 255).astype(np.uint8), picture[..., 3:]])


@dataclass(frozen=True)
class Layout:
    """A folder to train on: who writes it, its usual length, and the flags of train.py that fit
    it."""

    write: Callable[[Path, int], None]
    frames: int
    flags: str
    limit: int  # bytes, of all processes together


RIG_FLAGS = "--configs arguments/dynerf/default.py --iterations 150"
LAYOUTS = {
    "clip": Layout(write_clip, 2_000, "--iterations 100", 4 * GB),
    "pictures": Layout(write_pictures, 300, RIG_FLAGS, 6 * GB),
    "videos": Layout(write_videos, 300, RIG_FLAGS, 6 * GB),
}

if __name__ == "__main__":
    raise SystemExit(main())
