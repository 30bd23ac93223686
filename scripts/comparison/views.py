"""What render.py says of the views that it drew: views.json beside their pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scene.regions import REGIONS, Rectangle, read_regions
from utils.errors import InputError
from utils.files import read_json

VIEWS = "views.json"


@dataclass(frozen=True)
class Views:
    """None and {} stand for what a folder of an earlier version does not say."""

    fps: float | None  # of their video
    render_fps: float | None  # views posed and drawn in a second
    regions: dict[str, dict[str, Rectangle]]  # view -> region -> rectangle


def read_views(folder: Path) -> Views:
    """Raises InputError naming the file where it is something else."""
    file, old = folder / VIEWS, folder / REGIONS
    if not file.is_file():
        return Views(None, None, read_regions(old) if old.is_file() else {})
    content = read_json(file)
    try:
        regions = {
            view["name"]: {name: _rectangle(part) for name, part in view["regions"].items()}
            for view in content["views"]
        }
        fps, render_fps = content["fps"], content["timing"]["posed_and_drawn_fps"]
        return Views(float(fps), float(render_fps), regions)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{file}: expected fps, timing, and the name and regions of each view, found "
            f"{error!r}; run render.py again"
        ) from error


def _rectangle(part: object) -> Rectangle:
    left, top, right, bottom = (int(number) for number in part)
    if not (0 <= left < right and 0 <= top < bottom):
        raise ValueError(part)
    return left, top, right, bottom
