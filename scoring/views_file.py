"""`views.json`, beside the pictures of a split: what every view shows, and how fast it was
drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from scene.frames import Frame
from scene.regions import Rectangle, rectangles
from utils.files import inside, read_json, reading, write_json

VIEWS = "views.json"
TIMED = ("posed_and_drawn_fps", "drawn_fps")  # as `Show.frames_per_second` says
OLD_REGIONS = "regions.json"  # what older versions wrote in its place: view -> region -> rectangle


@dataclass(frozen=True)
class ViewsFile:
    """What `render.py` says of the pictures it wrote."""

    fps: float = 30.0  # of the scene, and so of its videos
    timing: dict[str, float] = field(default_factory=dict)  # frames per second, by what was timed
    regions: dict[str, dict[str, Rectangle]] = field(default_factory=dict)  # view, region


def view_name(k: int) -> str:
    return f"{k:05d}.png"


def write_views(
    folder: Path,
    frames: list[Frame],
    boxes: Mapping[str, Tensor],
    *,
    fps: float,
    timing: Mapping[str, float],
) -> None:
    """Write the file; `boxes` (2, 3) are the scene's regions."""
    views = [
        {
            "name": view_name(k),
            "picture": str(frame.image_path) if frame.image_path else None,
            "moment": frame.index,
            "time": frame.time,
            "camera": {
                "viewmat": frame.camera.viewmat.tolist(),
                "K": frame.camera.K.tolist(),
                "width": frame.camera.width,
                "height": frame.camera.height,
            },
            "regions": rectangles(boxes, frame),
        }
        for k, frame in enumerate(frames)
    ]
    write_json(folder / VIEWS, {"fps": fps, "timing": dict(timing), "views": views})


def read_views(folder: Path) -> ViewsFile:
    """What stands beside the pictures in `folder`, nothing where render.py said nothing.

    Raises InputError naming a file that holds something else.
    """
    for name in (VIEWS, OLD_REGIONS):
        path = inside(folder, folder / name)
        if path.exists():
            content = read_json(path)
            with reading(path, "an object that says what every view shows", "run render.py again"):
                return _of_today(content) if name == VIEWS else ViewsFile(regions=_regions(content))
    return ViewsFile()


def _of_today(content: dict) -> ViewsFile:
    timing = {name: float(content["timing"][name]) for name in TIMED}
    regions = _regions({view["name"]: view["regions"] for view in content["views"]})
    return ViewsFile(float(content["fps"]), timing, regions)


def _regions(content: dict) -> dict[str, dict[str, Rectangle]]:
    return {
        view: {name: _as_rectangle(part) for name, part in parts.items()}
        for view, parts in content.items()
    }


def _as_rectangle(part: object) -> Rectangle:
    left, top, right, bottom = (int(number) for number in part)
    if not (0 <= left < right and 0 <= top < bottom):
        raise ValueError(f"rectangle {part}")
    return left, top, right, bottom
