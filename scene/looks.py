"""Where somebody looks from and what a face is told to do, as JSON of strangers says it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from scene.cameras import Camera, intrinsics
from scene.facts import CONDITIONS
from scene.frames import Frame
from scene.paths import look_at

MAX_NUMBERS = 1_000  # sliders that may be set


@dataclass(frozen=True)
class Look:
    """A pinhole that looks from `eye` at `target`, world units; `fov` is vertical, radians."""

    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    up: tuple[float, float, float]
    fov: float


def camera_of(look: Look, width: int, height: int) -> Camera:
    """The pinhole in the middle of a picture."""
    focal = height / 2 / math.tan(look.fov / 2)
    eye, target, up = (
        torch.tensor(v, dtype=torch.float32) for v in (look.eye, look.target, look.up)
    )
    K = intrinsics(focal, focal, width / 2, height / 2)
    return Camera(look_at(eye, target, up), K, width, height)


def with_sliders(frame: Frame, sliders: Mapping[str, Mapping[int, float]]) -> Frame:
    """The frame with numbers of its conditions in place of its own; what it has not is passed
    over."""
    for name, numbers in sliders.items():
        value = getattr(frame, name)
        if value is not None and numbers:
            value = value.clone()
            for k, found in numbers.items():
                if 0 <= k < len(value):
                    value[k] = found
            frame = replace(frame, **{name: value})
    return frame


def look_of(value: Mapping[str, Any]) -> Look:
    """Where a page or a path looks from; ValueError or KeyError where that is nowhere."""
    eye, target, up = (_vector(value[name]) for name in ("eye", "target", "up"))
    ahead = [t - e for t, e in zip(target, eye, strict=True)]
    across = math.hypot(
        ahead[1] * up[2] - ahead[2] * up[1],
        ahead[2] * up[0] - ahead[0] * up[2],
        ahead[0] * up[1] - ahead[1] * up[0],
    )
    if across < 1e-6 * math.hypot(*ahead) * math.hypot(*up) or not across:
        raise ValueError("it looks along its upright axis, or nowhere")
    return Look(eye, target, up, number(value["fov"], 0.01, 3.0))


def sliders_of(value: Mapping[str, Mapping[str, float]]) -> dict[str, dict[int, float]]:
    """Numbers by the control and their place in it."""
    if not isinstance(value, dict) or any(name not in CONDITIONS for name in value):
        raise ValueError("unknown sliders")
    if sum(len(row) for row in value.values()) > MAX_NUMBERS:
        raise ValueError("too many sliders")
    return {
        name: {int(k): number(found, -1e3, 1e3) for k, found in row.items()}
        for name, row in value.items()
    }


def _vector(value: Any) -> tuple[float, float, float]:
    x, y, z = value
    return number(x, -1e6, 1e6), number(y, -1e6, 1e6), number(z, -1e6, 1e6)


def number(value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{str(value)[:40]} is no number from {low:g} to {high:g}")
    return float(value)
