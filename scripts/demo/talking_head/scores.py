"""Scores of an IMavatar subject's held-out videos, one by one.

`python -m scripts.demo.talking_head.scores MODEL ...`. metrics.py gives means over all held-out
frames; here each video has its own, models side by side. Run render.py and metrics.py first.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from arguments import parse_render_args
from scene import load_scene
from utils.errors import InputError, run_command
from utils.files import read_json

SHOWN = ("PSNR", "SSIM", "PSNR-mouth")


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, help="output folders of runs")
    args = parser.parse_args(argv)
    run_command(lambda: print_scores(args.models), debug=False)


def print_scores(models: list[Path]) -> None:
    """A row per model and video, a column per metric."""
    print("  ".join(["video".rjust(10), "frames", *(name.rjust(10) for name in SHOWN), " model"]))
    for model in models:
        for video, (count, means) in video_scores(model).items():
            cells = ["-" if mean is None else f"{mean:.2f}" for mean in means.values()]
            print(
                "  ".join(
                    [video.rjust(10), f"{count:6d}", *(c.rjust(10) for c in cells), f" {model}"]
                )
            )


def video_scores(model: Path) -> dict[str, tuple[int, dict[str, float | None]]]:
    """Of every held-out video its number of frames and its mean of each metric in `SHOWN`.

    Raises InputError where metrics.py has not scored the test frames that the data has now.
    """
    settings, _ = parse_render_args(["--model_path", str(model)])
    frames = load_scene(settings.dataset, settings.model, settings.data).test
    file = model / "per_view.json"
    scores = read_json(file)
    per_view = scores[max(scores, key=lambda name: int(name.rpartition("_")[2]))]
    if len(per_view["PSNR"]) != len(frames):
        raise InputError(
            f"{file}: {len(per_view['PSNR'])} views are scored, the data holds {len(frames)} out; "
            "run render.py and metrics.py again"
        )
    videos: dict[str, list[str]] = {}
    for frame, view in zip(frames, sorted(per_view["PSNR"]), strict=True):
        videos.setdefault(frame.image_path.parent.parent.name, []).append(view)
    return {
        video: (len(views), {name: _mean(per_view.get(name, {}), views) for name in SHOWN})
        for video, views in videos.items()
    }


def _mean(values: dict[str, float | None], views: list[str]) -> float | None:
    known = [values[view] for view in views if values.get(view) is not None]
    return sum(known) / len(known) if known else None


if __name__ == "__main__":
    main()
