"""A camera path that the viewer saved: key-frames in JSON, and the frames between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scene import performance
from scene.facts import SceneFacts
from scene.frames import Frame
from scene.looks import Look, camera_of, look_of, number, sliders_of, with_sliders
from utils.files import read_json, reading

MAX_JSON = 2**22  # bytes
MAX_FRAMES = 20_000
MAX_SIDE = 8_192  # pixels


Key = tuple[Look, float, dict[str, dict[int, float]]]  # look, part, sliders


@dataclass(frozen=True)
class CameraPath:
    """Key-frames, evenly spaced over `count` pictures.

    Places follow a Catmull-Rom spline through the keys; all else goes in straight lines.
    """

    keys: Sequence[Key]
    width: int  # pixels
    height: int
    count: int
    fps: float

    @classmethod
    def of(
        cls, value: Mapping[str, Any], most: int = MAX_FRAMES, side: int = MAX_SIDE
    ) -> CameraPath:
        """A path of `most` pictures of `side` pixels at most, as JSON of strangers says it;
        ValueError, KeyError or TypeError for anything else."""
        if value["version"] != 1:
            raise ValueError(f"version {str(value['version'])[:40]}, expected 1")
        width, height = (int(number(pixels, 1, side)) for pixels in value["size"])
        fps = number(value["fps"], 1, 240)
        count = round(number(value["seconds"], 0, 1e5) * fps) + 1
        if not 1 < count <= most or not value["keys"]:
            raise ValueError(f"{count} frames, {len(value['keys'])} keys")
        return cls([_key(key) for key in value["keys"]], width, height, count, fps)

    def frame(self, facts: SceneFacts, k: int) -> Frame:
        """The k-th picture's."""
        place = k / (self.count - 1) * (len(self.keys) - 1)
        return _frame(facts, self.keys, place, self.width, self.height)


def frames_of(path: Path, facts: SceneFacts) -> list[Frame]:
    """The frames of the path in a file; InputError names the file that is no path."""
    value = read_json(path, MAX_JSON)
    with reading(path, "a camera path", "save it again in the viewer"):
        found = CameraPath.of(value)
        return [found.frame(facts, k) for k in range(found.count)]


def _key(value: Mapping[str, Any]) -> Key:
    sliders = sliders_of(value.get("sliders", {}))
    return look_of(value["look"]), number(value["part"], 0, 1), sliders


def _frame(facts: SceneFacts, keys: Sequence[Key], place: float, width: int, height: int) -> Frame:
    k = min(int(place), max(len(keys) - 2, 0))
    share = place - k
    near = [keys[min(max(k + offset, 0), len(keys) - 1)] for offset in (-1, 0, 1, 2)]
    looks, (_, here, after, _) = [look for look, _, _ in near], near
    look = replace(
        here[0],
        eye=_spline([look.eye for look in looks], share),
        target=_spline([look.target for look in looks], share),
        fov=(1 - share) * here[0].fov + share * after[0].fov,
    )
    moment = performance.at(facts, (1 - share) * here[1] + share * after[1])
    frame = replace(moment, camera=camera_of(look, width, height))
    rest = {name: row.mean.tolist() for name, row in facts.conditions.items()}
    return with_sliders(frame, _between(here[2], after[2], share, rest))


def _spline(points: Sequence[Sequence[float]], t: float) -> tuple[float, ...]:
    """Catmull-Rom between the second and the third of four points."""
    return tuple(
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2
               + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(*points, strict=True)
    )  # fmt: skip


def _between(
    here: Mapping, after: Mapping, share: float, rest: Mapping[str, Sequence[float]]
) -> dict[str, dict[int, float]]:
    """Sliders between two keys; one that a key leaves alone is at rest there."""
    found: dict[str, dict[int, float]] = {}
    for name in {*here, *after} & rest.keys():
        one, other = here.get(name, {}), after.get(name, {})
        for k in {*one, *other}:
            if k < len(rest[name]):
                start, end = one.get(k, rest[name][k]), other.get(k, rest[name][k])
                found.setdefault(name, {})[k] = (1 - share) * start + share * end
    return found
