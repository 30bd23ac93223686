"""Make the demo dataset: a wind-up robot, drawn from code, in the folder layout of D-NeRF.

The same arguments give the same bytes. A folder that is already complete is left alone; a folder
that this script did not make is never touched.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from scripts.demo.folder import make_folder
from scripts.demo.robot.raycast import render
from scripts.demo.robot.toy import toy
from scripts.demo.robot.views import FOV_X, GAP_SHARE, View, make_views
from utils.errors import InputError, run_command

MARKER = "demo_data.json"  # says that a folder is ours, and what it holds
MADE_BY = "scripts/make_demo_data.py"
VERSION = 1  # raise when the pictures change, so that old folders are made again


@dataclass(frozen=True)
class DemoSettings:
    """What the dataset depends on; sizes in pixels, counts in views."""

    width: int = 200
    train: int = 100
    val: int = 10
    test: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("width", 8, 4096),
            ("train", 2, 1000),
            ("val", 0, 1000),
            ("test", 0, 1000),
            ("seed", 0, 2**31),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"--{name} is {value}; choose a number from {low} to {high}")

    def views(self) -> list[View]:
        """Every view of the dataset."""
        return make_views({"train": self.train, "val": self.val, "test": self.test}, self.seed)


def make_demo_data(out: Path, settings: DemoSettings, *, workers: int) -> bool:
    """Write the dataset to `out`; False when it was there already.

    The folder appears at once and whole. Raises InputError when `out` exists and is not ours.
    """
    content = {"made_by": MADE_BY, "version": VERSION, **asdict(settings)}
    views = settings.views()
    return make_folder(
        out, MARKER, content, lambda folder: _write_dataset(folder, views, settings.width, workers)
    )


def _write_dataset(folder: Path, views: list[View], width: int, workers: int) -> None:
    for split in GAP_SHARE:
        (folder / split).mkdir()
        frames = [_frame_entry(view) for view in views if view.split == split]
        _write_json(
            folder / f"transforms_{split}.json", {"camera_angle_x": FOV_X, "frames": frames}
        )
    jobs = [(folder, view, width) for view in views]
    with ExitStack() as stack:
        drawn = map(_draw, jobs)
        if workers > 1:
            # A fork could copy a lock that some thread of the parent holds.
            pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(workers))
            drawn = pool.imap_unordered(_draw, jobs)
        for _ in tqdm(drawn, "demo data", len(jobs), unit="view", disable=None):
            pass


def _frame_entry(view: View) -> dict:
    # Blender's exporter writes the step of its turntable as "rotation"; a random camera has none.
    return {
        "file_path": view.file_path,
        "rotation": 0.0,
        "time": view.time,
        "transform_matrix": view.c2w.tolist(),
    }


def _draw(job: tuple[Path, View, int]) -> None:
    folder, view, width = job
    image = render(toy(view.time), view.c2w, FOV_X, width)
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA))
    (folder / f"{view.file_path}.png").write_bytes(data.tobytes())


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("data/demo"), help="folder to make")
    for name, value in asdict(DemoSettings()).items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default {value}")
    parser.add_argument(
        "--workers", type=int, default=_cores(), help="processes; default: all cores"
    )
    flags = vars(parser.parse_args(argv))
    out, workers = flags.pop("out"), max(1, flags.pop("workers"))

    def run() -> None:
        settings = DemoSettings(**flags)
        made = make_demo_data(out, settings, workers=workers)
        counts = f"{settings.train} train, {settings.val} val, {settings.test} test views"
        print(f"{out}: {counts} {'written' if made else 'are there already'}")

    run_command(run, debug=False)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    main()
