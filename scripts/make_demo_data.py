"""Make a demo dataset: a wind-up robot, or balls, drawn from code, in the folder layout of D-NeRF.

`--scene` fast, occlusion, scale, texture, split and twins are six scenes of balls, each hard to
follow for another reason. Beside their pictures lie truth.json, the centre and radius of each mover
in world units for every picture, and moving/<picture>.png, how much of each pixel shows a mover.
Beside all pictures lies tracks.npz: the true paths of 500 points on surfaces. With `--arc 30` the
training camera moves 30 degrees over the clip; test and val still look from everywhere.

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
import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from scripts.demo.folder import make_folder
from scripts.demo.movers import rig
from scripts.demo.movers.scenes import SCENES, scene
from scripts.demo.movers.truth import MASKS, TRUTH, entry
from scripts.demo.robot import views as robot
from scripts.demo.robot.raycast import coverage, render
from scripts.demo.robot.shapes import Solid
from scripts.demo.robot.toy import toy
from scripts.demo.robot.views import GAP_SHARE, View
from scripts.demo.tracks import write_tracks
from utils.errors import InputError, run_command

MARKER = "demo_data.json"  # says that a folder is ours, and what it holds
MADE_BY = "scripts/make_demo_data.py"
VERSION = 2  # raise when the pictures change, so that old folders are made again
ROBOT = "robot"
COUNTS = {"train": 84, "val": 14, "test": 14}  # views of the other scenes, unless flags say more


@dataclass(frozen=True)
class DemoSettings:
    """What the dataset depends on; sizes in pixels, counts in views."""

    scene: str = ROBOT
    width: int = 200
    train: int = 100
    val: int = 10
    test: int = 20
    seed: int = 0
    arc: int = 0

    def __post_init__(self) -> None:
        if self.scene not in (ROBOT, *SCENES):
            known = ", ".join((ROBOT, *SCENES))
            raise InputError(f"--scene is {self.scene!r}; choose one of {known}")
        for name, low, high in (
            ("width", 8, 4096),
            ("train", 2, 1000),
            ("val", 0, 1000),
            ("test", 0, 1000),
            ("seed", 0, 2**31),
            ("arc", 0, 360),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"--{name} is {value}; choose a number from {low} to {high}")

    @property
    def fov_x(self) -> float:
        """Of every camera, radians."""
        return robot.FOV_X if self.scene == ROBOT else rig.FOV_X

    def views(self) -> list[View]:
        """Every view of the dataset."""
        make_views = robot.make_views if self.scene == ROBOT else rig.make_views
        views = make_views({"train": self.train, "val": self.val, "test": self.test}, self.seed)
        if not self.arc:
            return views
        if self.scene == ROBOT:
            return robot.on_arc(views, self.arc, np.zeros(3), robot.RADIUS)
        return robot.on_arc(views, self.arc, rig.TARGET, rig.RINGS[0][2])

    def solids(self, time: float) -> tuple[list[Solid], list[Solid]]:
        """What there is at `time` in [0, 1], and what of it moves as the truth is to say."""
        if self.scene == ROBOT:
            return toy(time), []
        found = scene(self.scene, self.seed)
        movers = found.movers(time)
        return [*found.still, *movers], movers

    def content(self) -> dict:
        """What the marker says; the robot was there before scenes had names."""
        settings = asdict(self)
        if not self.arc:
            del settings["arc"]
        if self.scene == ROBOT:
            del settings["scene"]
        return {"made_by": MADE_BY, "version": VERSION, **settings}


def make_demo_data(out: Path, settings: DemoSettings, *, workers: int) -> bool:
    """Write the dataset to `out`; False when it was there already.

    The folder appears at once and whole. Raises InputError when `out` exists and is not ours.
    """
    return make_folder(
        out, MARKER, settings.content(), lambda folder: _write_dataset(folder, settings, workers)
    )


def _write_dataset(folder: Path, settings: DemoSettings, workers: int) -> None:
    views = settings.views()
    for split in GAP_SHARE:
        (folder / split).mkdir()
        frames = [_frame_entry(view) for view in views if view.split == split]
        _write_json(
            folder / f"transforms_{split}.json",
            {"camera_angle_x": settings.fov_x, "frames": frames},
        )
    if settings.scene != ROBOT:
        for split in GAP_SHARE:
            (folder / MASKS / split).mkdir(parents=True)
        entries = [entry(view, settings.solids(view.time)[1]) for view in views]
        _write_json(folder / TRUTH, {"frames": entries})
    write_tracks(
        folder, views, lambda time: settings.solids(time)[0], settings.fov_x, settings.seed
    )
    jobs = [(folder, view, settings) for view in views]
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


def _draw(job: tuple[Path, View, DemoSettings]) -> None:
    folder, view, settings = job
    solids, movers = settings.solids(view.time)
    seen = solids, view.c2w, settings.fov_x, settings.width
    _write_png(folder / view.file_path, cv2.cvtColor(render(*seen), cv2.COLOR_RGBA2BGRA))
    if movers:
        mask = coverage({mover.name for mover in movers}, *seen)
        _write_png(folder / MASKS / view.file_path, mask)


def _write_png(stem: Path, pixels: np.ndarray) -> None:
    _, data = cv2.imencode(".png", pixels)
    stem.with_suffix(".png").write_bytes(data.tobytes())


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = ", ".join((ROBOT, *SCENES))
    parser.add_argument("--scene", default=ROBOT, help=f"default {ROBOT}; one of {known}")
    parser.add_argument("--out", type=Path, help="folder; default data/demo, data/demo_<scene>")
    for name, value in asdict(DemoSettings()).items():
        if name != "scene":
            words = f"default {value}" + (f", balls {COUNTS[name]}" if name in COUNTS else "")
            words = f"degrees; {words}, anywhere" if name == "arc" else words
            parser.add_argument(f"--{name}", type=int, default=argparse.SUPPRESS, help=words)
    parser.add_argument(
        "--workers", type=int, default=_cores(), help="processes; default: all cores"
    )
    flags = vars(parser.parse_args(argv))
    out, workers = flags.pop("out"), max(1, flags.pop("workers"))
    out = out or Path("data/demo" if flags["scene"] == ROBOT else f"data/demo_{flags['scene']}")

    def run() -> None:
        settings = DemoSettings(**({} if flags["scene"] == ROBOT else COUNTS) | flags)
        made = make_demo_data(out, settings, workers=workers)
        counts = f"{settings.train} train, {settings.val} val, {settings.test} test views"
        print(f"{out}: {counts} {'written' if made else 'are there already'}")

    run_command(run, debug=False)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    main()
