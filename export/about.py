"""What a file that moves says beside its Gaussians."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from scene.gaussian_model import Gaussians


@dataclass(frozen=True)
class Face:
    """A model that follows E numbers, such as expressions and joints, and what it does at some."""

    names: tuple[str, ...]  # of the E controls
    low: Tensor  # (E,) ends of what training showed
    high: Tensor
    rest: Tensor  # (E,)
    performance: Tensor  # (T, E) the numbers over the whole length, evenly
    controls: Tensor  # (F, E) at the samples; the first is at rest
    samples: Sequence[Gaussians]  # F, in the file's axes


@dataclass(frozen=True)
class About:
    """How long it lasts, and how to look at it, in the file's axes and units."""

    seconds: float
    antialiased: bool
    background: tuple[float, float, float]
    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    fov: float  # vertical, radians
    face: Face | None = None
    modes: int = 0  # that a page keeps; 0: as many as it likes
