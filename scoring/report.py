"""report.html: one run on one page, in one file that needs no network and no other file.

A part that the run does not have (no video, no scores) is said on the page with the command that
makes it.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from html import escape
from pathlib import Path
from statistics import fmean, median
from string import Template

from scoring.curves import draw_curves, is_number, read_rows
from scoring.report_parts import (
    Cell,
    Markup,
    cards,
    compare,
    data_address,
    details,
    duration,
    missing,
    number,
    paragraph,
    picture,
    plain,
    section,
    size,
    strip_plot,
    table,
)
from scoring.run_files import Run, iteration, read_run
from scoring.views import FITTED, PARTS
from utils.errors import InputError
from utils.files import inside, write_text

TEMPLATE = Path(__file__).with_name("report_template.html")
N_PAIRS = 6
MP4_MARK = b"ftyp"  # bytes 4 to 8 of every MP4 file
SLOWEST = 1e-6  # steps per second
VIDEO_BYTES = 5 * 2**20  # a larger video is linked, to keep the page under about 10 MB
LOWER_IS_BETTER = ("D-SSIM", "LPIPS")  # beginnings of names


def write_report(folder: Path) -> Path:
    """Write <folder>/report.html and return its path.

    Raises `InputError` where `folder` is not the output of a run, or one of its files is damaged.
    """
    run = read_run(folder)
    body = "\n".join(
        (
            header(run),
            section("Video", video(run)),
            section("Ground truth and render", pairs(run)),
            section("Scores", scores(run)),
            section("Training", curves(run)),
            section("Protocol", protocol(run)),
            section("Files", files(run)),
            section("Settings", settings(run)),
        )
    )
    page = Template(TEMPLATE.read_text(encoding="utf-8"))
    path = folder / "report.html"
    write_text(path, page.substitute(title=escape(name_of(run)), body=body))
    return path


def header(run: Run) -> str:
    found = run.results.get(f"{run.split}/{run.views.name}", {}) if run.views else {}
    facts = [
        (f"{name}, {run.split}", number(found[name]))
        for name in ("PSNR", "fg-PSNR", "SSIM")
        if found.get(name) is not None
    ]
    rows = list(read_rows(inside(run.folder, run.folder / "log.jsonl")))
    counts = [row["n_gaussians"] for row in rows if is_number(row.get("n_gaussians"))]
    if counts:
        facts.append(("Gaussians", f"{counts[-1]:,}"))
    seconds = training_seconds(rows)
    if seconds:
        facts.append(("training", duration(seconds)))
    about = [plain(run.config[key]) for key in ("method", "dataset") if run.config.get(key)]
    top = f"<header><h1>{escape(name_of(run))}</h1>"
    return f"{top}{paragraph(' on '.join(about), 'soft') if about else ''}{cards(facts)}</header>"


def name_of(run: Run) -> str:
    """The last two parts of the folder's path, as in dnerf/lego."""
    return "/".join(run.folder.resolve().parts[-2:])


def training_seconds(rows: list[dict]) -> float:
    """Time spent in steps, from the rates in the log; a resumed run counts every step once."""
    seconds, before = 0.0, ("", 0)
    for row in rows:
        if not is_number(row.get("it_per_s")) or row["it_per_s"] < SLOWEST:
            continue
        stage, step = row["stage"], row["step"]
        seconds += (step - (before[1] if before[0] == stage else 0)) / row["it_per_s"]
        before = (stage, step)
    return seconds


def video(run: Run) -> str:
    paths = run.folder.glob("video/*/video_rgb.mp4")
    path = max(paths, key=lambda path: iteration(path.parent), default=None)
    if path is None:
        return missing(f"No video. Make it: python render.py --model_path {run.folder}")
    if run.file(path).stat().st_size > VIDEO_BYTES:
        place = escape(path.relative_to(run.folder).as_posix())
        found = size(path.stat().st_size)
        return f'<p>Too large for this page ({found}): <a href="{place}">{place}</a></p>'
    content = path.read_bytes()
    if content[4:8] != MP4_MARK:
        raise InputError(f"{path}: not an MP4 file; run render.py again")
    address = data_address(content, "video/mp4")
    label = "the novel-view path with time running"
    return f'<video controls loop muted playsinline aria-label="{label}" src="{address}"></video>'


def pairs(run: Run) -> str:
    """Views from the worst to the best by PSNR; evenly over the list where there are no scores."""
    if run.views is None:
        return missing(f"No views. Make them: python render.py --model_path {run.folder}")
    psnr = {name: v for name, v in run.per_view.get("PSNR", {}).items() if v is not None}
    both = [{path.name for path in (run.views / part).glob("*.png")} for part in PARTS]
    names = sorted(both[0] & both[1], key=lambda name: (psnr.get(name, 0.0), name))
    count = min(N_PAIRS, len(names))
    chosen = [names[round(k * (len(names) - 1) / max(count - 1, 1))] for k in range(count)]
    figures = []
    for name in chosen:
        score = f", PSNR {psnr[name]:.2f} dB" if name in psnr else ""
        caption = f"{run.split} {Path(name).stem}{score}"
        render, truth = (run.file(run.views / part / name) for part in PARTS)
        figures.append(compare(truth, render, name=Path(name).stem, caption=caption))
    text = "Drag across a picture, or move its divider with the arrow keys."
    order = " From the worst view to the best." if psnr else ""
    return f'{paragraph(text + order, "soft")}\n<div class="pairs">{"".join(figures)}</div>'


def scores(run: Run) -> str:
    if not run.results:
        return missing(f"No scores. Make them: python metrics.py -m {run.folder}")
    names = list(dict.fromkeys(n for values in run.results.values() for n in values))
    names = [name for name in names if name != "protocol"]
    rows = [
        [where, *(_markup(values.get(name)) for name in names)]
        for where, values in run.results.items()
    ]
    head = ["split and iteration", *map(_with_arrow, names)]
    fitted = [row for row in rows if row[0].split("/")[0] in FITTED]
    means = table("Mean over the views", head, [row for row in rows if row not in fitted])
    if fitted:
        means += table(
            "Frames fitted to their pictures, not comparable with the rest", head, fitted
        )
    return means + (spread_table(run) if run.per_view else "")


def spread_table(run: Run) -> str:
    """Lowest, middle and highest view of each metric."""
    rows: list[list[Cell]] = []
    for name, views in run.per_view.items():
        values = [value for value in views.values() if value is not None]
        if values:
            numbers = [min(values), median(values), fmean(values), max(values)]
            plot = Markup(strip_plot(values, f"{name} of {len(values)} views"))
            rows.append([_with_arrow(name), *map(_markup, numbers), plot])
    head = ["metric", "lowest", "median", "mean", "highest", "each view a dot"]
    return table(f"Spread over the views of {run.split}/{run.views.name}", head, rows)


def curves(run: Run) -> str:
    path = draw_curves(run.folder) or run.folder / "curves.png"
    if not path.exists():
        return missing("No curves: there is no log.jsonl, or matplotlib is not installed.")
    text = "Training curves: loss terms, PSNR, number of Gaussians, steps per second"
    return f'<img class="curves" alt="{text}" src="{picture(run.file(path))}">'


def protocol(run: Run) -> str:
    found = run.results.get(f"{run.split}/{run.views.name}", {}) if run.views else {}
    if not found.get("protocol"):
        return missing("The protocol is written with the scores.")
    rows = [[key, _markup_text(value)] for key, value in found["protocol"].items()]
    return table("How the scores above were computed", [], rows)


def files(run: Run) -> str:
    """What the run takes on the disk, by folder; of a model only its last iteration."""
    saved = sorted(run.folder.glob("point_cloud/*"), key=iteration)[-1:]
    folders = sorted(path for path in run.folder.iterdir() if path.is_dir())
    # What a link leads to is not the run's.
    places = [path for path in (*saved, *folders) if not path.is_symlink()] + [run.folder]
    rows = []
    for place in places:
        found = (path.lstat() for path in place.rglob("*"))
        sizes = [each.st_size for each in found if stat.S_ISREG(each.st_mode)]
        label = place.relative_to(run.folder).as_posix() if place != run.folder else "everything"
        rows.append([label, len(sizes), Markup(size(sum(sizes)))])
    return table("", ["folder", "files", "size"], rows)


def settings(run: Run) -> str:
    if not run.config:
        return missing("No config.json in the folder.")
    top = [[key, plain(v)] for key, v in run.config.items() if not isinstance(v, dict)]
    parts = [table("", [], top)] if top else []
    for name, values in run.config.items():
        if isinstance(values, dict) and values:
            rows = [[key, plain(value)] for key, value in values.items()]
            parts.append(details(f"{name} ({len(rows)})", table("", [], rows)))
    return "\n".join(parts)


def _markup_text(value: object) -> Markup:
    """A protocol entry: a list as lines, an object as 'key: value' lines."""
    lines: Iterator[str] | list[str] = [plain(value)]
    if isinstance(value, list):
        lines = map(plain, value)
    elif isinstance(value, dict):
        lines = (f"{key}: {plain(item)}" for key, item in value.items())
    return Markup("<br>".join(map(escape, lines)) or "-")


def _markup(value: float | None) -> Markup:
    return Markup("-" if value is None else number(value))


def _with_arrow(metric: str) -> str:
    return f"{metric}\u00a0{'↓' if metric.startswith(LOWER_IS_BETTER) else '↑'}"
