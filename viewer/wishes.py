"""What a page asks to see, as strangers' JSON: checked here, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scene.camera_path import MAX_FRAMES, CameraPath
from scene.looks import Look, look_of, number, sliders_of

MAX_SIDE = 2_048  # pixels of a picture
MODES = ("color", "alpha", "depth", "error")


@dataclass(frozen=True)
class Wish:
    """One picture."""

    id: int
    width: int  # pixels
    height: int
    sharp: bool  # at rest: nearly lossless; else quick
    mode: str  # one of MODES
    part: float  # of the performance, 0 to 1
    look: Look
    camera: int | None = None  # a known camera in place of `look`
    split: bool = False  # the picture taken there beside it
    mesh: bool = False  # the head model's surface over it
    sliders: Mapping[str, Mapping[int, float]] = field(default_factory=dict)


def parse(text: str | bytes) -> Wish | CameraPath | str:
    """A wish, a path to be filmed, or one of the words "pause" and "go"; raises ValueError,
    KeyError or TypeError for anything else."""
    value = json.loads(text)
    if value in ("pause", "go"):
        return value
    if not isinstance(value, dict):
        raise ValueError("neither a wish nor a word")
    if "film" in value:
        return CameraPath.of(value["film"], MAX_FRAMES, MAX_SIDE)
    mode = value.get("mode", "color")
    if mode not in MODES:
        raise ValueError(f"mode {mode!r}")
    camera = value.get("camera")
    return Wish(
        id=_whole(value, "id", 0, 2**53),
        width=_whole(value, "width", 1, MAX_SIDE),
        height=_whole(value, "height", 1, MAX_SIDE),
        sharp=bool(value.get("sharp")),
        mode=mode,
        part=number(value.get("part", 0.0), 0, 1),
        look=look_of(value["look"]),
        camera=None if camera is None else _whole(value, "camera", 0, 2**31),
        split=bool(value.get("split")),
        mesh=bool(value.get("mesh")),
        sliders=sliders_of(value.get("sliders", {})),
    )


def _whole(value: Mapping[str, Any], name: str, low: int, high: int) -> int:
    found = value.get(name)
    if isinstance(found, bool) or not isinstance(found, int) or not low <= found <= high:
        raise ValueError(f"{name} is {str(found)[:40]}, expected {low} to {high}")
    return found
