"""Train on a long clip and report the peak memory: python scripts/check_memory.py [--frames 2000]

Makes a D-NeRF folder of 800x800 pictures in a temporary folder (hard links to a few noisy pictures, which
compress as badly as photographs) and trains some steps on it with the default settings. Exit code 1 when
the peak passes 4 GB or 1.2 times what was announced.
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
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.tiny_scene import ANGLE, draw, look_at_origin  # noqa: E402

SIZE = 800
N_PICTURES = 8  # different ones; the others are hard links to them
MIB = 2**20
LIMIT = 4 * 1000**3  # bytes
MARGIN = 1.2  # of the announced bound
FLAGS = "--device cpu --coarse_iterations 50 --iterations 100 --densify_from_iter 20 --densification_interval 20"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=2000, help="of the training split")
    parser.add_argument("flags", nargs="*", help="more flags of train.py, after --")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scene = write_long_scene(Path(temporary) / "long", args.frames)
        command = [sys.executable, "train.py", "-s", str(scene), "-m", f"{temporary}/out", *FLAGS.split()]
        begin = time.monotonic()
        run = subprocess.run([*command, *args.flags], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        seconds = time.monotonic() - begin
    print(run.stdout)
    if run.returncode:
        return run.returncode
    peak = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # of the largest process
    bound = MIB * int(re.search(r"at most ([\d,]+) MiB", run.stdout)[1].replace(",", ""))
    print(f"{args.frames} frames, {SIZE}x{SIZE}: peak {peak / MIB:,.0f} MiB, announced {bound / MIB:,.0f} MiB, {seconds:.0f} s")
    return int(peak > LIMIT or peak > MARGIN * bound)


def write_long_scene(folder: Path, n_frames: int) -> Path:
    """A D-NeRF folder whose training split has `n_frames` pictures."""
    rng = np.random.default_rng(0)
    for split, count in {"train": n_frames, "test": N_PICTURES}.items():
        (folder / split).mkdir(parents=True)
        poses = [look_at_origin(rng.uniform(-math.pi, math.pi), 0.5) for _ in range(N_PICTURES)]
        frames = []
        for k in range(count):
            file, first = folder / split / f"r_{k:04d}.png", k % N_PICTURES
            if k < N_PICTURES:
                cv2.imwrite(str(file), noisy(draw(poses[k], k / N_PICTURES, SIZE), rng))
            else:
                os.link(folder / split / f"r_{first:04d}.png", file)
            frames.append(
                {"file_path": f"./{split}/{file.stem}", "time": k / count, "transform_matrix": poses[first].tolist()}
            )
        content = {"camera_angle_x": ANGLE, "frames": frames}
        (folder / f"transforms_{split}.json").write_text(json.dumps(content))
    return folder


def noisy(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noise = rng.integers(-20, 21, (*picture.shape[:2], 3))
    color = np.clip(picture[..., :3] + noise, 0, 255).astype(np.uint8)
    return cv2.cvtColor(np.dstack([color, picture[..., 3]]), cv2.COLOR_RGBA2BGRA)


if __name__ == "__main__":
    raise SystemExit(main())
