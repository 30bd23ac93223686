"""Which camera sees the toy at which time: the splits of a D-NeRF dataset.

One random camera per time stamp, as a moving hand-held camera would have. Test and validation times
fall between training times, so a score on them measures motion as well as viewpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

FOV_X = 0.6911112070083618  # radians; the camera of the D-NeRF scenes
RADIUS = 4.031128874  # distance from the origin, world units; likewise
ELEVATION = (5.0, 65.0)  # degrees above the horizon

# Where in the gap between two training times a split's times fall.
GAP_SHARE = {"train": 0.0, "val": 0.25, "test": 0.5}


@dataclass(frozen=True)
class View:
    """One picture of the dataset."""

    split: str
    index: int
    time: float  # [0, 1]
    c2w: NDArray[np.float64]  # camera-to-world (4, 4), OpenGL axes: x right, y up, looking along -z

    @property
    def file_path(self) -> str:
        """The picture's place in the dataset, without extension, as D-NeRF writes it."""
        return f"./{self.split}/r_{self.index:03d}"


ARC_AZIMUTH, ARC_ELEVATION = -90.0, 25.0  # degrees: the middle of an arc of cameras


def make_views(counts: dict[str, int], seed: int) -> list[View]:
    """All views of all splits (`counts`: views by split), reproducible from `seed`."""
    views = []
    for number, split in enumerate(GAP_SHARE):
        rng = np.random.default_rng([seed, number])  # a split's views do not depend on the others
        times = times_of(counts[split], counts["train"] - 1, GAP_SHARE[split])
        views += [View(split, i, time, _random_camera(rng)) for i, time in enumerate(times)]
    return views


def on_arc(views: list[View], degrees: float, target: NDArray, distance: float) -> list[View]:
    """The views with training cameras that move along an arc of so many degrees over the clip, at
    `distance` from `target` (3,); the others stay where they are."""
    sine = np.sin(np.radians(ARC_ELEVATION))

    def moved(view: View) -> View:
        azimuth = np.radians(ARC_AZIMUTH + degrees * (view.time - 0.5))
        return replace(view, c2w=looking_at(target, azimuth, sine, distance))

    return [moved(view) if view.split == "train" else view for view in views]


def times_of(count: int, gaps: int, share: float) -> list[float]:
    """`count` times over [0, 1], each `share` of the way through one of `gaps` equal gaps."""
    if share == 0:
        return [i / gaps for i in range(gaps + 1)]
    return [(int((i + 0.5) * gaps / count) + share) / gaps for i in range(count)]


def _random_camera(rng: np.random.Generator) -> NDArray[np.float64]:
    """A camera on the sphere, uniform by area between the elevations, looking at the origin."""
    low, high = np.sin(np.radians(ELEVATION))
    sine, azimuth = rng.uniform(low, high), rng.uniform(0, 2 * np.pi)
    return looking_at(np.zeros(3), azimuth, sine, RADIUS)


def looking_at(
    target: NDArray[np.float64], azimuth: float, sine: float, distance: float
) -> NDArray[np.float64]:
    """Camera-to-world (4, 4) of a camera at `distance` from `target` (3,), in its middle.

    `azimuth` in radians from x towards y; `sine` is that of the elevation. World z is up.
    """
    cosine = np.sqrt(1 - sine**2)
    back = np.array([cosine * np.cos(azimuth), cosine * np.sin(azimuth), sine])
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    c2w = np.eye(4)
    c2w[:3] = np.stack([right, np.cross(back, right), back, target + distance * back], 1)
    return c2w
