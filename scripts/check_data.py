"""What a scene's folder holds and what is wrong in it: `python scripts/check_data.py PATH [...]`.

Options are those of train.py (--dataset, -r, --hold_out, --configs, ...); the dataset is recognised
where none is named. Exit code 1 where training would fail or mean nothing, else 0.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

import utils.threads  # noqa: F401  (before torch, as in the commands)
from arguments import parse_train_args
from arguments.settings import Settings
from scene import SPLITS, Scene, load_scene
from scripts.data_doctor.checks import Problem, pictured, problems
from scripts.data_doctor.pictures import draw_frames, plot_cameras
from utils.errors import InputError, run_command

N_SHOWN = 30  # problems; one broken copy can make thousands


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
    settings = parse_train_args(
        ["-s", str(path), *([] if named else ["--dataset", "auto"]), *options]
    )
    try:
        scene = load_scene(settings.dataset, settings.model)
    except InputError as problem:
        print(f"error    {problem}")
        return 1
    for name, words in report(scene).items():
        print(f"{name:<13}{words}")
    out = out or Path("output") / "check" / path.resolve().parent.name / path.resolve().name
    plot_cameras(scene, out / "cameras.png")
    draw_frames(scene, background(settings), out / "frames.png")
    print(f"{'pictures':<13}{out / 'cameras.png'}, {out / 'frames.png'}")
    found = problems(scene)
    show(found)
    return int(any(problem.is_error for problem in found))


def background(settings: Settings) -> torch.Tensor:
    return torch.full((3,), float(settings.model.white_background))


def report(scene: Scene) -> dict[str, str]:
    """What there is, in words."""
    frames = pictured(scene)
    sizes = sorted({(f.camera.width, f.camera.height) for f in frames})
    times = sorted({f.time for f in frames})
    places = {tuple(f.camera.viewmat.reshape(-1).tolist()) for f in frames}
    low, high = (edge.tolist() for edge in (scene.points.xyz.amin(0), scene.points.xyz.amax(0)))
    return {
        "splits": ", ".join(f"{name} {len(scene.split(name))}" for name in SPLITS),
        "resolution": ", ".join(f"{width}x{height}" for width, height in sizes),
        "time": f"{times[0]:.3f} to {times[-1]:.3f}, {len(times)} moments",
        "conditioning": conditioning(scene),
        "cameras": f"{len(places)} poses, scene extent {scene.extent:.3g}, "
        f"{sum(f.lens is not None for f in frames)} frames with a bent lens",
        "points": f"{len(scene.points.xyz):,} from {vector(low)} to {vector(high)}",
    }


def conditioning(scene: Scene) -> str:
    first = scene.train[0]
    parts = [
        f"{name} {len(getattr(first, name))}"
        for name in ("expression", "flame_pose")
        if getattr(first, name) is not None
    ]
    parts += ["head_to_world"] if first.head_to_world is not None else []
    parts += [f"shape {len(scene.subject.shape)}"] if scene.subject else []
    return ", ".join(parts) or "time alone"


def vector(values: list[float]) -> str:
    return "(" + ", ".join(f"{value:.3g}" for value in values) + ")"


def show(found: list[Problem]) -> None:
    for problem in found[:N_SHOWN]:
        print(f"{'error' if problem.is_error else 'warning':<9}{problem.text}")
    if len(found) > N_SHOWN:
        print(f"... and {len(found) - N_SHOWN} more")
    if not found:
        print("no problems found")


if __name__ == "__main__":
    main()
