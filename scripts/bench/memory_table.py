"""Announced memory beside the peak of twelve configurations at their maximum, as a table and JSON:
python scripts/bench/memory_table.py [--only NAME ...] [--out FILE.json]

Both methods, three sizes, big pictures, big Gaussians. Each run is a process of a dozen steps that
begins with as many Gaussians as it may have. Exit code 1 where one is off by more than 20 %.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.tiny_scene import write_tiny_head, write_tiny_scene  # noqa: E402
from utils.images import read_image, write_image  # noqa: E402

WITHIN = 0.2  # of what was announced
LARGE = 1_000  # pixels; of larger files a scene has one, where its layout allows several sizes
SAID = re.compile(r"memory: ([\d,]+) MiB at the peak, at most ([\d,]+) MiB")
FLAGS = "--device cpu --iterations 8 --test_iterations 8"
# train.py whose Gaussians begin so wide, in world units, that each covers much of the picture.
BIG = """
import utils.threads, runpy, sys, torch
from scene import gaussian_model
gaussian_model.mean_knn_squared_distance = lambda points, k: torch.ones(len(points))
del sys.argv[0]
runpy.run_path("train.py", run_name="__main__")
"""
METHODS = {
    "fourdgs": (write_tiny_scene, "--coarse_iterations 4"),
    "gaussianhead": (write_tiny_head, "--warm_up 2 --lambda_vgg 0"),
}


@dataclass(frozen=True)
class Case:
    """A scene and a run of a method."""

    method: str
    file_width: int  # pixels of the square files
    drawn_width: int
    rows: int
    big: bool = False  # Gaussians that fill much of the picture

    @property
    def name(self) -> str:
        kind = "-big" if self.big else ""
        return f"{self.method}-{self.file_width}-r{self.drawn_width}-{self.rows}{kind}"


CASES = [
    Case("fourdgs", 100, 100, 40_000),
    Case("fourdgs", 400, 400, 40_000),
    Case("fourdgs", 800, 800, 100_000),
    Case("gaussianhead", 64, 64, 30_000),
    Case("gaussianhead", 256, 256, 60_000),
    Case("gaussianhead", 512, 512, 60_000),
    Case("fourdgs", 3_500, 200, 5_000),
    Case("fourdgs", 7_000, 200, 5_000),
    Case("gaussianhead", 4_000, 200, 5_000),
    Case("fourdgs", 400, 400, 4_000, big=True),
    Case("fourdgs", 800, 800, 4_000, big=True),
    Case("gaussianhead", 512, 512, 4_000, big=True),
]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="*", default=[], help="names, or parts of names")
    parser.add_argument("--out", type=Path, help="write the rows here as JSON")
    args = parser.parse_args()
    rows = []
    print(f"{'configuration':42} announced   peak   peak / announced  (MiB)")
    for case in CASES:
        if args.only and not any(part in case.name for part in args.only):
            continue
        announced, peak = measured(case)
        rows.append(asdict(case) | {"announced_mib": announced, "peak_mib": peak})
        print(f"{case.name:42} {announced:9,} {peak:6,}   {peak / announced:.2f}", flush=True)
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(abs(row["peak_mib"] / row["announced_mib"] - 1) > WITHIN for row in rows))


def measured(case: Case) -> tuple[int, int]:
    """MiB that the run announced, and its peak."""
    write, flags = METHODS[case.method]
    with tempfile.TemporaryDirectory() as temporary:
        one = case.file_width > LARGE and write is write_tiny_scene
        scene = write(Path(temporary) / "scene", LARGE if one else case.file_width)
        if one:
            enlarge(scene / "train/r_000.png", case.file_width)
        command = [sys.executable, *(["-c", BIG] if case.big else []), "train.py"]
        command += ["-s", str(scene), "-m", f"{temporary}/out"]
        command += ["--method", case.method, "-r", str(case.drawn_width), *FLAGS.split()]
        command += ["--max_gaussians", str(case.rows), "--init_points", str(case.rows)]
        run = subprocess.run([*command, *flags.split()], cwd=ROOT, capture_output=True, text=True)
    found = SAID.search(run.stdout)
    if not found:
        raise SystemExit(run.stderr)
    peak, announced = (int(number.replace(",", "")) for number in found.groups())
    return announced, peak


def enlarge(path: Path, width: int) -> None:
    """Make a picture this wide."""
    picture = read_image(path)
    write_image(path, cv2.resize(picture, (width, width), interpolation=cv2.INTER_NEAREST))


if __name__ == "__main__":
    raise SystemExit(main())
