"""Training curves: reads log.jsonl of a run and draws curves.png.

The steps of all stages lie one after the other on one axis; thin vertical lines part the stages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from utils.errors import shown
from utils.files import read_bytes, replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SMOOTH_OVER = 10  # log lines to each side in a running mean: single views differ by several dB
MAX_LOG = 2**28  # bytes
MAX_CURVES = 50  # of a kind, and stages: what a log names beyond them is left out
MAX_NAME = 40  # letters
LARGEST = 1e30  # a log says no more, and matplotlib draws no more
# Of the figure. A layout that asks the texts for their sizes takes as long as the drawing itself.
MARGINS = {
    "left": 0.06, "right": 0.985, "top": 0.95, "bottom": 0.075, "wspace": 0.15, "hspace": 0.3,
}  # fmt: skip
LINE_COLORS = ("#4269d0", "#d9610b", "#3a9a5b", "#a463f2", "#97603c", "#6cc5b0", "#e0598b")


@dataclass
class Series:
    """One curve: steps counted over all stages, and values."""

    steps: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def smoothed(self) -> list[float]:
        """Centred running mean; shorter at the ends."""
        reach = range(len(self.values))
        windows = (self.values[max(k - SMOOTH_OVER, 0) : k + SMOOTH_OVER + 1] for k in reach)
        return [fmean(window) for window in windows]


@dataclass
class Curves:
    """Everything the log holds, by name; a name the log never mentions is not there."""

    train: dict[str, Series] = field(default_factory=dict)  # psnr, n_gaussians, it_per_s
    losses: dict[str, Series] = field(default_factory=dict)  # total and each term
    scores: dict[str, dict[str, Series]] = field(default_factory=dict)  # psnr, ssim; by split
    stages: list[tuple[str, float]] = field(default_factory=list)  # name, where it starts


def read_rows(log: Path) -> Iterator[dict]:
    """The objects of log.jsonl, none if there is no such file.

    A last line cut by a kill, or any other that is no step's object, is left out.
    """
    if not log.exists():
        return
    for line in read_bytes(log, MAX_LOG).decode(errors="replace").splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and "stage" in row and is_number(row.get("step")):
            yield row


def read_curves(log: Path) -> Curves:
    """Sort the rows of `log` into curves; numbers that are missing or not finite are left out."""
    curves, start, end = Curves(), 0.0, 0.0
    for row in read_rows(log):
        stage = _name(row["stage"])
        if not curves.stages or curves.stages[-1][0] != stage:
            if len(curves.stages) == MAX_CURVES:
                break
            start = end
            curves.stages.append((stage, start))
        step = start + row["step"]
        end = max(end, step)
        if "split" in row:
            for name in ("psnr", "fg_psnr", "ssim"):
                _add(curves.scores.setdefault(name, {}), _name(row["split"]), step, row.get(name))
            continue
        for name in ("psnr", "n_gaussians", "it_per_s"):
            _add(curves.train, name, step, row.get(name))
        _add(curves.losses, "total", step, row.get("loss"))
        terms = row.get("losses")
        for name, value in (terms if isinstance(terms, dict) else {}).items():
            _add(curves.losses, _name(name), step, value)
    return curves


def draw_curves(model_path: Path) -> Path | None:
    """Draw <model_path>/log.jsonl as curves.png beside it and return the picture's path.

    None, and no picture, where the log is missing or empty, or matplotlib is not installed.
    """
    curves = read_curves(model_path / "log.jsonl")
    if not curves.stages:
        return None
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(11, 6.6), dpi=110)
    panels = figure.subplots(2, 2, gridspec_kw=MARGINS)
    _draw_losses(panels[0, 0], curves)
    _draw_psnr(panels[0, 1], curves)
    _draw_one(panels[1, 0], curves, "n_gaussians", "Gaussians")
    _draw_one(panels[1, 1], curves, "it_per_s", "steps per second")
    for axes in panels.flat:
        _finish(axes, curves)
    path = model_path / "curves.png"
    with replacing(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)
    return path


def _draw_losses(axes: Axes, curves: Curves) -> None:
    axes.set_title("loss terms (weighted)")
    for color, (name, series) in zip(_colors(), curves.losses.items(), strict=False):
        axes.plot(series.steps, series.smoothed(), color=color, label=name, linewidth=1.4)
    if any(value > 0 for series in curves.losses.values() for value in series.values):
        axes.set_yscale("log")


def _draw_psnr(axes: Axes, curves: Curves) -> None:
    axes.set_title("PSNR, dB")
    colors = _colors()
    if "psnr" in curves.train:
        series, color = curves.train["psnr"], next(colors)
        axes.plot(series.steps, series.values, color=color, alpha=0.2, linewidth=0.8)
        axes.plot(series.steps, series.smoothed(), color=color, label="train view", linewidth=1.4)
    for name, label in (("psnr", ""), ("fg_psnr", " foreground")):
        for split, series in curves.scores.get(name, {}).items():
            style = {"marker": "o", "markersize": 4, "color": next(colors)}
            axes.plot(series.steps, series.values, label=f"{split}{label}", **style)


def _draw_one(axes: Axes, curves: Curves, name: str, title: str) -> None:
    axes.set_title(title)
    if name in curves.train:
        series = curves.train[name]
        axes.plot(series.steps, series.values, color=LINE_COLORS[0], linewidth=1.4)
        axes.set_ylim(bottom=0)


def _finish(axes: Axes, curves: Curves) -> None:
    """Grid, stage borders with their names, and a legend where there is something to name."""
    axes.set_xlabel("step, all stages")
    axes.grid(color="#d8dbe0", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    for name, start in curves.stages:
        axes.axvline(start, color="#8b929c", linewidth=0.8, linestyle=":")
        place = {"xy": (start, 1.0), "xycoords": ("data", "axes fraction"), "va": "top"}
        axes.annotate(f" {name}", color="#68707c", fontsize=8, **place)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=8)
    if not axes.lines[: -len(curves.stages)]:
        axes.text(0.5, 0.5, "not in the log", ha="center", transform=axes.transAxes)


def _colors() -> Iterator[str]:
    while True:
        yield from LINE_COLORS


def _add(group: dict[str, Series], name: str, step: float, value: object) -> None:
    if is_number(value) and (name in group or len(group) < MAX_CURVES):
        series = group.setdefault(name, Series())
        series.steps.append(step)
        series.values.append(value)


def _name(value: object) -> str:
    """As matplotlib writes it as it is: no formulas, and no line of its own."""
    return " ".join((value if isinstance(value, str) else shown(value)).split())[:MAX_NAME].replace(
        "$", r"\$"
    )


def is_number(value: object) -> bool:
    """Whether a value of a log is one that can be shown; NaN is not below anything."""
    return isinstance(value, int | float) and -LARGEST < value < LARGEST
