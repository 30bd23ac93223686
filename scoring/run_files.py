"""What the files of a model folder say, for its report.

The folder may come from a stranger and the report goes to others: nothing is read through a link,
a picture is a picture, and a number is a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scoring.views import PARTS, SPLIT_SUFFIXES
from utils.errors import InputError, shown
from utils.files import inside, read_json, regular

MAX_JSON = 2**25  # bytes; the scores of 10,000 views take 4 MB


@dataclass(frozen=True)
class Run:
    """What the files of a model folder say. Scores are of the last iteration of the first split
    that has any; an empty dict or None where nothing was written."""

    folder: Path
    config: dict
    split: str | None
    views: Path | None  # <folder>/<split>/<method>, the last iteration's
    results: dict[str, dict]  # by split and method, "test/ours_3000"
    per_view: dict[str, dict[str, float | None]]  # of `views`, by metric and file name

    def file(self, path: Path) -> Path:
        """`path` in the folder, after looking that it is a file there and no link leads to it."""
        regular(inside(self.folder, path))
        return path


def read_run(folder: Path) -> Run:
    """What is there. Raises InputError where `folder` is no run's, or holds something else."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name the output folder of a training run")
    config = _read_object(folder, "config.json")
    found = {split: last_method(folder / split) for split in SPLIT_SUFFIXES}
    split = next((name for name, views in found.items() if views), None)
    views = found[split] if split else None
    if not config and not views:
        raise InputError(
            f"{folder}: neither config.json nor rendered views in it; "
            "name the output folder of a training run"
        )
    results = {
        f"{name}/{method}": values
        for name, suffix in SPLIT_SUFFIXES.items()
        for method, values in _results(folder, f"results{suffix}.json").items()
    }
    per_view = {}
    if views:
        for part in PARTS:
            inside(folder, views / part)
        per_view = _per_view(folder, f"per_view{SPLIT_SUFFIXES[split]}.json").get(views.name, {})
    return Run(folder, config, split, views, results, per_view)


def last_method(folder: Path) -> Path | None:
    """The folder of the greatest iteration that has renders and ground truth."""
    methods = [path.parent for path in folder.glob(f"*/{PARTS[0]}") if any(path.glob("*.png"))]
    return max(methods, key=iteration, default=None)


def iteration(folder: Path) -> int:
    """The number that ends a folder's name, -1 where there is none."""
    tail = folder.name.rpartition("_")[2]
    return int(tail) if tail.isdecimal() else -1


def _results(folder: Path, name: str) -> dict[str, dict]:
    """By method: numbers by metric, and the protocol, an object."""
    methods = _read_object(folder, name)
    for method, values in methods.items():
        numbers = dict(_object(folder / name, method, values))
        _object(folder / name, "protocol", numbers.pop("protocol", {}) or {})
        _numbers(folder / name, method, numbers)
    return methods


def _per_view(folder: Path, name: str) -> dict[str, dict]:
    """By method and metric: numbers by view."""
    methods = _read_object(folder, name)
    for method, metrics in methods.items():
        for metric, views in _object(folder / name, method, metrics).items():
            _numbers(folder / name, metric, _object(folder / name, metric, views))
    return methods


def _read_object(folder: Path, name: str) -> dict:
    """A JSON object, empty where there is no file."""
    path = inside(folder, folder / name)
    return _object(path, "the file", read_json(path, MAX_JSON)) if path.exists() else {}


def _object(path: Path, what: str, value: object) -> dict:
    if not isinstance(value, dict):
        raise InputError(f"{path}: {shown(what)} is {shown(value)}, expected a JSON object")
    return value


def _numbers(path: Path, what: str, values: Mapping[str, object]) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise InputError(
                f"{path}: {shown(what)}: {shown(name)} is {shown(value)}, expected a number; "
                "run metrics.py again"
            )
