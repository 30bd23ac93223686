"""Make the demo dataset: a wind-up robot, drawn from code, in the folder layout of D-NeRF.

The same arguments give the same bytes. A folder that is already complete is left alone; a folder
that this script did not make is never touched.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

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
        for name, low, high in (("width", 8, 4096), ("train", 2, 1000), ("val", 0, 1000),
                                ("test", 0, 1000), ("seed", 0, 2**31)):
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
    out = out.resolve()
    found, views = _read_marker(out), settings.views()
    if found == _marker(settings) and all(_is_there(out, view) for view in views):
        return False
    partial = out.with_name(out.name + ".partial")
    if _read_marker(partial) is not None:
        shutil.rmtree(partial)  # left by a run that was killed
    try:
        partial.mkdir(parents=True)
        # The marker comes first: it lets the next run clean up after a killed one.
        _write_json(partial / MARKER, _marker(settings))
        _write_dataset(partial, views, settings.width, workers)
        _replace_folder(partial, out)
    except OSError as error:
        raise InputError(f"{out}: cannot write the demo data ({error.strerror or error}); "
                         "free some space there or choose another folder with --out") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return True


def _write_dataset(folder: Path, views: list[View], width: int, workers: int) -> None:
    for split in GAP_SHARE:
        (folder / split).mkdir()
        frames = [_frame_entry(view) for view in views if view.split == split]
        _write_json(folder / f"transforms_{split}.json",
                    {"camera_angle_x": FOV_X, "frames": frames})
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
    return {"file_path": view.file_path, "rotation": 0.0, "time": view.time,
            "transform_matrix": view.c2w.tolist()}


def _draw(job: tuple[Path, View, int]) -> None:
    folder, view, width = job
    image = render(toy(view.time), view.c2w, FOV_X, width)
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA))
    (folder / f"{view.file_path}.png").write_bytes(data.tobytes())


def _marker(settings: DemoSettings) -> dict:
    return {"made_by": MADE_BY, "version": VERSION, **asdict(settings)}


def _read_marker(folder: Path) -> dict | None:
    """What our marker says; None where there is nothing yet. InputError for a foreign folder."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        marker = json.loads((folder / MARKER).read_text())
        if marker["made_by"] == MADE_BY:
            return marker
    except (OSError, ValueError, TypeError, KeyError):
        pass
    raise InputError(f"{folder}: exists but has no readable {MARKER}, so it was not made by "
                     "this script; move it away or choose another folder with --out")


def _is_there(folder: Path, view: View) -> bool:
    return ((folder / f"{view.file_path}.png").is_file()
            and (folder / f"transforms_{view.split}.json").is_file())


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def _replace_folder(source: Path, target: Path) -> None:
    """Put `source` in the place of `target`, which is missing, empty or ours."""
    if target.exists():
        shutil.rmtree(target)
    os.replace(source, target)


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("data/demo"), help="folder to make")
    for name, value in asdict(DemoSettings()).items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default {value}")
    parser.add_argument("--workers", type=int, default=_cores(), help="processes; default: all cores")
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
