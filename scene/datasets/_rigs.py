"""Which moment a picture of a COLMAP model shows: its place in the video, or, of a rig's pictures,
what their names have in common from camera to camera."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath

from scene.datasets._files import natural
from scene.datasets._moments import rows_of

Split = Callable[[str], tuple[str, tuple]]  # a name to its camera and its moment, which sorts
SAME_POSE = 6  # digits: no two pictures of a camera that moves are posed alike


def rows_by_name(names: Sequence[str], poses: Mapping[str, Sequence[float]]) -> dict[str, int]:
    """The row of the moment that each picture shows. `poses`: of those that were posed.

    A rig is told by cameras that stand still, each a folder or a prefix of names, or by folders
    whose pictures have the same names, which COLMAP takes for pictures of one moment.
    """
    for split, fits in ((_number, _still), (_folder, _still), (_file, _alike)):
        parts = {name: split(name) for name in names}
        if len({moment for _, moment in parts.values()}) > 1 and fits(parts, poses):
            rows = rows_of(moment for _, moment in parts.values())
            return {name: rows[moment] for name, (_, moment) in parts.items()}
    return {name: row for row, name in enumerate(sorted(names, key=natural))}


def _number(name: str) -> tuple[str, tuple]:
    """cam00/0007.jpg, cam00_0007.jpg: the last number is the moment."""
    found = re.fullmatch(r"(.*?)(\d{1,300})(\D*)", name)
    return (found[1], (int(found[2]),)) if found else (name, ())


def _folder(name: str) -> tuple[str, tuple]:
    """0007/cam00.jpg."""
    path = PurePosixPath(name)
    return path.name, tuple(natural(str(path.parent)))


def _file(name: str) -> tuple[str, tuple]:
    """left/a.jpg."""
    path = PurePosixPath(name)
    return str(path.parent), tuple(natural(path.name))


def _still(parts: Mapping[str, tuple[str, tuple]], poses: Mapping[str, Sequence[float]]) -> bool:
    """Whether there are several cameras, not all in one place, none of which moves."""
    places: dict[str, set[tuple[float, ...]]] = defaultdict(set)
    for name, pose in poses.items():
        places[parts[name][0]].add(tuple(round(value, SAME_POSE) for value in pose))
    still = all(len(found) == 1 for found in places.values())
    return still and len(places) < len(poses) and len(set.union(*places.values())) > 1


def _alike(parts: Mapping[str, tuple[str, tuple]], poses: Mapping[str, Sequence[float]]) -> bool:
    """Whether there are several folders, all with the same names."""
    found: dict[str, set[tuple]] = defaultdict(set)
    for camera, moment in parts.values():
        found[camera].add(moment)
    return len(found) > 1 and len({frozenset(moments) for moments in found.values()}) == 1
