"""What a scene's folder holds and what is wrong in it: `python scripts/check_data.py PATH [...]`.

Options are those of train.py (--dataset, -r, --hold_out, --configs, ...); where neither --dataset
nor --configs is given, the family is recognised and read as its default.py says. Exit code 1 where
training would fail or mean nothing, else 0.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.terminal import begin_command, started  # isort: skip

if __name__ == "__main__":
    begin_command()

import utils.threads  # isort: skip  # noqa: F401  (before torch, as in the commands)

import torch

from arguments import parse_train_args
from arguments.settings import Settings
from scene import load_scene
from scene.datasets.auto import Family, recognised
from scripts.data_doctor.checks import Problem, problems
from scripts.data_doctor.checks import named as named_few
from scripts.data_doctor.notes import notes
from scripts.data_doctor.pictures import draw_frames, plot_cameras
from scripts.data_doctor.report import report, within
from scripts.data_doctor.videos import unextracted, video_problems
from utils.errors import InputError, run_command

CONFIGS = Path(__file__).resolve().parents[1] / "arguments"
N_SHOWN = 30  # problems; one broken copy can make thousands
N_LISTED = 100  # folders that are looked into
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("path", type=Path, help="the scene's folder")
    parser.add_argument(
        "--out", type=Path, help="folder of the two pictures (output/check/<scene>)"
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args, rest = parser.parse_known_args()
    run_command(lambda: sys.exit(check(args.path, args.out, rest)), debug=args.debug)


def check(path: Path, out: Path | None, options: list[str]) -> int:
    """Print the report and write its pictures; returns the exit code."""
    named = any(option.split("=")[0] in ("--dataset", "--configs") for option in options)
    settings = parse_train_args(["-s", str(path), *([] if named else usual(path)), *options])
    try:
        videos = unextracted(path, settings)
        if videos:
            return show(list(video_problems(videos)))
        scene = load_scene(settings.dataset, settings.model, settings.data)
    except InputError as problem:
        print(f"error    {problem}")
        print(f"hint     {hint(path, named)}")
        return 1
    for name, words in report(scene, path).items():
        print(f"{name:<13}{words}")
    out = out or Path("output") / "check" / path.resolve().parent.name / path.resolve().name
    plot_cameras(scene, out / "cameras.png")
    draw_frames(scene, background(settings), out / "frames.png")
    print(f"{'pictures':<13}{out / 'cameras.png'}, {out / 'frames.png'}")
    return show([*problems(scene), *notes(scene)])


def usual(path: Path) -> list[str]:
    """The flags that read a folder as its family's default configuration does."""
    family = fitting(path)
    if family is None:
        return ["--dataset", "auto"]
    config = CONFIGS / family.name / "default.py"
    print(f"{'family':<13}read as {family.name} ({family.why}) by {within(config, Path.cwd())}")
    return ["--configs", str(config)]


def hint(path: Path, named: bool) -> str:
    """What to try with a folder that could not be read; `named`: a family was asked for."""
    if not path.is_dir():
        return "data/README.md describes the folders that can be read"
    family = fitting(path)
    if family and named:
        return f"its files are those of {family.name} ({family.why}): name that family, or none"
    if family:
        return f"data/README.md shows what a folder of {family.name} holds"
    children = sorted(path.iterdir())
    below = [(child, fitting(child)) for child in children[:N_LISTED] if child.is_dir()]
    scenes = [f"{child} ({found.name})" for child, found in below if found]
    if scenes:
        return f"there are scenes in it: {named_few(scenes)}"
    if any(child.suffix.lower() in VIDEOS for child in children):
        return (
            "it holds a video without cameras: pose it by COLMAP (see 'COLMAP video' in "
            "data/README.md), a face by scripts/make_avatar.py (docs/own-video.md)"
        )
    return f"it holds {named_few([child.name for child in children]) or 'nothing'}"


def fitting(path: Path) -> Family | None:
    """The family of a folder; None where none or several fit, or a file that tells is broken."""
    try:
        return recognised(path) if path.is_dir() else None
    except InputError:
        return None


def background(settings: Settings) -> torch.Tensor:
    return torch.full((3,), float(settings.model.white_background))


def show(told: list[Problem]) -> int:
    """Print problems, then notes; returns the exit code."""
    found = [problem for problem in told if problem.kind != "note"]
    for problem in found[:N_SHOWN]:
        print(f"{problem.kind:<9}{problem.text}")
    if len(found) > N_SHOWN:
        print(f"... and {len(found) - N_SHOWN} more")
    if not found:
        print("no problems found")
    for problem in told:
        if problem.kind == "note":
            print(f"{problem.kind:<9}{problem.text}")
    return int(any(problem.kind == "error" for problem in found))


if __name__ == "__main__":
    started()
    main()
