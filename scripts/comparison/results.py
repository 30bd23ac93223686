"""What a comparison shows: a table of all runs, a video and a picture of them side by side.

Where some scenes are held out there are two tables, each with the mean over its scenes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from itertools import product
from pathlib import Path

from scoring.views_file import read_views
from scripts.comparison.runs import PART, VAL, Run, measures, views
from utils.files import write_json, write_text
from utils.images import Pixels, contact_sheet, read_image, resize_premultiplied, write_image
from utils.video import VideoWriter

FIRST = ("PSNR", "SSIM")  # columns in front, where there are such; regions and LPIPS come next
LAST = ("MiB", "training s", "render FPS", "Gaussians")
N_SHOWN = 4  # frames in the picture
DIGITS = {"PSNR": 2, "SSIM": 4, "MiB": 1, "training s": 0, "render FPS": 1, "Gaussians": 0}
CHOSEN, HELD_OUT = "chosen on", "held out"  # what the scenes of a table were for
MEAN = "mean"  # in place of a scene's name

Row = dict[str, "float | None"]


def write_table(out: Path, runs: Sequence[Run], held_out: Collection[Path] = ()) -> str:
    """Write results.json (every run) and table.md (means over seeds); returns the table.

    With scenes `held_out`, whose paths are those of the runs, results.json also says the group of
    each run and holds the means of each group, in place of whose scene stands "mean". Runs that
    show other parts of a person are never in one table.
    """
    found = {run: measures(run) for run in runs}
    part_of = {run: row.pop(PART, None) for run, row in found.items()}
    columns, parts = _columns(list(found.values())), list(dict.fromkeys(part_of.values()))
    entries, tables = [], []
    for group, part in product((CHOSEN, HELD_OUT) if held_out else (None,), parts):
        rows = [
            (str(run.scene), run, found[run])
            for run in runs
            if part_of[run] == part
            and (group is None or (run.scene in held_out) == (group == HELD_OUT))
        ]
        if group:
            rows += _means(rows)
        entries += [
            {
                "scene": scene,
                "config": str(run.config),
                "seed": run.seed,
                "flags": list(run.flags),
                **({"group": group} if group else {}),
                **({PART: part} if part else {}),
                **row,
            }
            for scene, run, row in rows
        ]
        title = ", ".join(filter(None, [group, f"part={part}" if part and len(parts) > 1 else ""]))
        tables.append((f"{title}\n\n" if title and rows else "") + _table(rows, columns))
    write_json(out / "results.json", entries)
    text = "\n".join(filter(None, tables))
    write_text(out / "table.md", text)
    return text


def _means(rows: Sequence[tuple[str, Run, Row]]) -> list[tuple[str, Run, Row]]:
    """Of each config and seed the mean over scenes; none of what some scene has no number for."""
    groups: dict[tuple[Path, int], list[tuple[Run, Row]]] = {}
    for _, run, row in rows:
        groups.setdefault((run.config, run.seed), []).append((run, row))
    means = []
    for group in groups.values():
        values = {name: [row.get(name) for _, row in group] for name in group[0][1]}
        mean = {
            name: None if None in column else math.fsum(column) / len(column)
            for name, column in values.items()
        }
        means.append((MEAN, group[0][0], mean))
    return means


def _table(rows: Sequence[tuple[str, Run, Row]], columns: Sequence[str]) -> str:
    """A line for each scene and config; nothing where there are no rows."""
    if not rows:
        return ""
    lines = [["scene", "config", "seeds", *columns], ["---"] * (3 + len(columns))]
    same: dict[tuple[str, str], list[Row]] = {}
    for scene, run, row in rows:
        same.setdefault((scene, run.label), []).append(row)
    for (scene, label), seeds in same.items():
        cells = [_cell(seeds, name) for name in columns]
        lines.append([Path(scene).name, label, str(len(seeds)), *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def write_video(path: Path, runs: Sequence[Run]) -> None:
    """Ground truth and one render of each run, side by side, over the test frames that all have."""
    with VideoWriter(path, fps=read_views(views(runs[0])).fps) as video:
        for name in _shared_views(runs):
            video.add(contact_sheet([_side_by_side(name, runs)], _captions(runs)))


def write_picture(path: Path, runs: Sequence[Run]) -> None:
    """The same of a few frames, below each its regions, such as the mouth, as wide as the frame."""
    regions = read_views(views(runs[0])).regions
    names = _shared_views(runs)
    count, rows = min(N_SHOWN, len(names)), []
    for k in range(count):
        name = names[(2 * k + 1) * len(names) // (2 * count)]
        rows.append(_side_by_side(name, runs))
        for left, top, right, bottom in regions.get(name, {}).values():
            width, height = rows[-1][0].shape[1], (bottom - top) / (right - left)
            parts = [image[top:bottom, left:right] for image in _side_by_side(name, runs)]
            size = width, round(width * height)
            rows.append([resize_premultiplied(part, *size) for part in parts])
    write_image(path, contact_sheet(rows, _captions(runs)))


def _shared_views(runs: Sequence[Run]) -> list[str]:
    """Names of the test frames that all runs have drawn."""
    drawn = ({file.name for file in (views(run) / "renders").glob("*.png")} for run in runs)
    return sorted(set.intersection(*drawn))


def _side_by_side(name: str, runs: Sequence[Run]) -> list[Pixels]:
    folders = [views(run) for run in runs]
    return [read_image(folders[0] / "gt" / name)] + [
        read_image(folder / "renders" / name) for folder in folders
    ]


def _captions(runs: Sequence[Run]) -> list[str]:
    return ["ground truth", *(run.label for run in runs)]


def _columns(rows: Sequence[Row]) -> list[str]:
    """Names with a number in any run: scores, regions, LPIPS, then what it cost."""
    known = list(
        dict.fromkeys(name for row in rows for name, value in row.items() if value is not None)
    )
    scores = [name for name in known if name.startswith(("PSNR-", "LPIPS"))]
    val = [VAL + name for name in (*FIRST, *scores)]
    return [name for name in (*FIRST, *scores, *val, *LAST) if name in known]


def _cell(rows: Sequence[Row], name: str) -> str:
    """Mean and, over several seeds, the standard deviation."""
    values = [row[name] for row in rows if row.get(name) is not None]
    if not values:
        return "-"
    mean, digits = math.fsum(values) / len(values), DIGITS.get(_quantity(name), 4)
    text = f"{mean:.{digits}f}"
    if len(values) == 1:
        return text
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return f"{text} ± {spread:.{digits}f}"


def _quantity(name: str) -> str:
    """PSNR, of `val PSNR-mouth`."""
    return name.removeprefix(VAL).split("-")[0]
