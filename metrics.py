"""Score what render.py wrote: `python metrics.py -m MODEL [MODEL ...]`.

Reads <model>/{test,val,train}/ours_<iteration>/{renders,gt}/*.png and writes results.json and
per_view.json (results_val.json and so on for the other splits) in the form the 3DGS family uses,
with the protocol beside the numbers.
"""

from __future__ import annotations

from utils.terminal import begin_command, started  # isort: skip

if __name__ == "__main__":
    begin_command()

import utils.threads  # isort: skip  # noqa: F401  (must come before torch)

import argparse
import platform
import subprocess
from pathlib import Path
from typing import TypeVar

import cv2
import torch

from scoring.perceptual import DEFAULT_WEIGHTS, find_weights
from scoring.views import (
    FITTED,
    PARTS,
    SPLIT_SUFFIXES,
    Metric,
    Scores,
    Views,
    lpips_metrics,
    missing_lpips,
    part_metrics,
    pixel_metrics,
    region_metrics,
    score_views,
)
from scoring.views_file import read_views
from utils.devices import choose_device
from utils.errors import InputError, run_command
from utils.files import inside, read_json, user_path, write_json

ROOT = Path(__file__).resolve().parent
T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    flags = ("-m", "--model_paths", "--model_path")
    parser.add_argument(
        *flags, nargs="+", type=user_path, required=True, help="output folders of runs"
    )
    parser.add_argument("--lpips_weights", type=user_path, help=f"default: {DEFAULT_WEIGHTS}")
    parser.add_argument("--skip_lpips", action="store_true", help="LPIPS takes most of the time")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args()
    run_command(lambda: run(args), debug=args.debug)


def run(args: argparse.Namespace) -> None:
    """Check every folder first, then score model by model; a model's files come all at its end."""
    found = {model: find_views(model) for model in args.model_paths}
    weights = None if args.skip_lpips else find_weights(args.lpips_weights)
    missing = missing_lpips(skipped=args.skip_lpips)
    device = choose_device(args.device)
    common = [*pixel_metrics(), *lpips_metrics(weights, device, missing=missing)]
    for model, all_views in found.items():
        metrics = common + part_metrics(all_views) + region_metrics(all_views)
        scored = [
            (views, score_views(views, metrics, device, quiet=args.quiet)) for views in all_views
        ]
        write_scores(model, scored, metrics)
        print_table(model, scored, metrics)


def find_views(model: Path) -> list[Views]:
    """What can be scored in `model`; raises `InputError` where nothing is, or images miss."""
    if not model.is_dir():
        raise InputError(f"{model}: no such folder; -m takes the output folder of a training run")
    folders = [
        renders.parent
        for split in SPLIT_SUFFIXES
        for renders in sorted(model.glob(f"{split}/*/{PARTS[0]}"))
    ]
    if not folders:
        raise InputError(
            f"{model}: no {{{','.join(SPLIT_SUFFIXES)}}}/ours_*/{PARTS[0]} in it; "
            f"run python render.py --model_path {model} first"
        )
    return [list_views(inside(model, folder)) for folder in folders]


def list_views(folder: Path) -> Views:
    """The views of one method; raises `InputError` unless every render has its ground truth."""
    renders, truths = (
        {path.name for path in inside(folder, folder / part).glob("*.png")} for part in PARTS
    )
    if not renders | truths:
        raise InputError(f"{folder / PARTS[0]}: no PNG images in it; run render.py again")
    for part, lacking in zip(PARTS, (truths - renders, renders - truths), strict=True):
        if lacking:
            raise InputError(
                f"{folder / part}: {min(lacking)} is missing; found {len(renders)} renders and "
                f"{len(truths)} ground-truth images; run render.py again"
            )
    return Views(folder, tuple(sorted(renders)), read_views(folder).regions)


def write_scores(model: Path, scored: list[tuple[Views, Scores]], metrics: list[Metric]) -> None:
    """results*.json and per_view*.json of every split that was rendered."""
    for split, suffix in SPLIT_SUFFIXES.items():
        methods = [pair for pair in scored if pair[0].folder.parent.name == split]
        if not methods:
            continue
        results = {
            views.folder.name: {metric.name: scores.mean(metric.name) for metric in metrics}
            | {"protocol": protocol(model, views, scores, metrics)}
            for views, scores in methods
        }
        write_json(model / f"results{suffix}.json", results)
        per_view = {views.folder.name: scores.per_view for views, scores in methods}
        write_json(model / f"per_view{suffix}.json", per_view)


def protocol(model: Path, views: Views, scores: Scores, metrics: list[Metric]) -> dict:
    """What a reader needs to compare the numbers with others."""
    iteration = views.folder.name.rpartition("_")[2]
    return {
        "split": views.folder.parent.name,
        "views": len(views.names),
        "resolution": [f"{width}x{height}" for width, height in scores.sizes],
        "background": background(model),
        "part": setting_of(model, "DataParams", "part", str),
        "fitted": FITTED.get(views.folder.parent.name),
        "iteration": int(iteration) if iteration.isdecimal() else None,
        "code": code_version(),
        "images": "8-bit PNG as written by render.py",
        "mean": "over the views that have a number",
        "metrics": {metric.name: metric.convention for metric in metrics},
        "notes": notes(scores, metrics),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "opencv": cv2.__version__,
        },
    }


def notes(scores: Scores, metrics: list[Metric]) -> list[str]:
    """A line for each reason why views have no number, with the metrics it holds for."""
    names: dict[str, list[str]] = {}
    for metric in metrics:
        values = scores.per_view[metric.name].values()
        without = sum(value is None for value in values)
        if without:
            reason = f"no number for {without} of {len(values)} views: {metric.no_number}"
            names.setdefault(reason, []).append(metric.name)
    return [f"{', '.join(metrics)}: {reason}" for reason, metrics in names.items()]


def background(model: Path) -> str | None:
    """The word for the run's background by its own config.json, None where that does not say."""
    return {True: "white", False: "black", None: None}[
        setting_of(model, "ModelParams", "white_background", bool)
    ]


def setting_of(model: Path, section: str, name: str, kind: type[T]) -> T | None:
    """A setting by the run's own config.json, None where that does not say."""
    path = model / "config.json"
    config = read_json(inside(model, path)) if path.exists() else {}
    values = config.get(section, {}) if isinstance(config, dict) else {}
    value = values.get(name) if isinstance(values, dict) else None
    return value if isinstance(value, kind) else None


def code_version() -> dict | None:
    """Commit of this checkout and whether files differ from it; None outside git."""
    try:
        top, commit, changes = (
            subprocess.run(
                ["git", "-C", str(ROOT), *command], capture_output=True, text=True, check=True
            ).stdout.strip()
            for command in (
                ["rev-parse", "--show-toplevel"],
                ["rev-parse", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no"],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    # An unpacked copy inside somebody else's repository has no commit of its own.
    return {"commit": commit, "dirty": bool(changes)} if Path(top) == ROOT else None


def print_table(model: Path, scored: list[tuple[Views, Scores]], metrics: list[Metric]) -> None:
    """Means of one model, a row per split and method, and why numbers are missing. Frames that were
    fitted to their pictures are in a table of their own."""
    print(f"\n{model}")
    fitted = [pair for pair in scored if pair[0].folder.parent.name in FITTED]
    for rows in ([pair for pair in scored if pair not in fitted], fitted):
        if rows is fitted and fitted:
            print("fitted to their pictures before they were drawn: not to be compared with others")
        _print_rows(rows, metrics)
    for views, scores in scored:
        for line in notes(scores, metrics):
            print(f"{views.folder.parent.name}/{views.folder.name}: {line}")


def _print_rows(scored: list[tuple[Views, Scores]], metrics: list[Metric]) -> None:
    if not scored:
        return
    shown = [m.name for m in metrics if any(s.mean(m.name) is not None for _, s in scored)]
    rows = [["split", "method", "views", *shown]]
    for views, scores in scored:
        means = [scores.mean(name) for name in shown]
        cells = ["-" if mean is None else f"{mean:.4f}" for mean in means]
        rows.append([views.folder.parent.name, views.folder.name, str(len(views.names)), *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))


if __name__ == "__main__":
    started()
    main()
