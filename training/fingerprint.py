"""What a run is trained on, in a few numbers: enough to say later what of it changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np

from scene.frames import Frame

END = 2**16  # bytes that are read at either end of a picture's file
SUMS = 31  # that many numbers are summed up to; no multiple of a matrix's size, so all columns mix
# Relative. Numbers went through arithmetic that another machine may round in another way, so they
# are compared and not hashed: of a thousand there is always one that rounds to a neighbour.
CLOSE = 1e-6
NUMBERS = ("times", "poses", "intrinsics", "codes")
OLDER = "older"  # what older versions stored, alone


def fingerprint(frames: list[Frame]) -> dict[str, str]:
    """Kind of input -> a short text, for `changes`.

    A picture or mask counts by its size in bytes and the bytes at its ends.
    """
    names = [(f.camera.width, f.camera.height, f.role, _name(f.image_path)) for f in frames]
    pictures = chain.from_iterable((f.image_path, f.plate_path) for f in frames)
    masks = [f.mask for f in frames if f.mask]
    codes = chain.from_iterable((f.expression, f.flame_pose, f.head_to_world) for f in frames)
    lenses = chain.from_iterable((f.lens.K, f.lens.coefficients) for f in frames if f.lens)
    return {
        "frames": _hash(names),
        "pictures": _hash(_contents(pictures)),
        "masks": _hash([[mask.keep for mask in masks], _contents(mask.path for mask in masks)]),
        "times": _sums([frame.time] for frame in frames),
        "poses": _sums(frame.camera.viewmat for frame in frames),
        "intrinsics": _sums(chain((frame.camera.K for frame in frames), lenses)),
        "codes": _sums(code for code in codes if code is not None),
        OLDER: _older(frames),
    }


def changes(stored: dict[str, str] | str, now: dict[str, str] | str) -> str:
    """What differs between two fingerprints, in words; "" for nothing. Either may be of the older
    form."""
    if isinstance(stored, str) or isinstance(now, str):
        older = [part if isinstance(part, str) else part.get(OLDER) for part in (stored, now)]
        return "" if older[0] == older[1] else "pictures or times"
    kinds = [kind for kind in now if kind != OLDER and not _same(kind, stored.get(kind), now[kind])]
    return "frames" if "frames" in kinds else " and ".join(kinds)


def _same(kind: str, one: object, other: str) -> bool:
    if one == other or kind not in NUMBERS or not isinstance(one, str):
        return one == other
    try:
        a, b = (np.array(text.split(), np.float64) for text in (one, other))
    except ValueError:
        return False
    if a.shape != b.shape or a[0] != b[0]:
        return False
    sizes = np.maximum(a[1 + SUMS :], b[1 + SUMS :])
    return bool((np.abs(a - b)[1 : 1 + SUMS] <= CLOSE * sizes).all())


def _hash(values: Iterable[object]) -> str:
    return hashlib.sha256(repr(list(values)).encode()).hexdigest()[:16]


def _name(path: Path | None) -> str:
    return path.name if path else ""


def _contents(paths: Iterable[Path | None]) -> list[tuple[int, str]]:
    """Size and hash of the ends of every file; pictures that many frames share are read once."""
    found: dict[Path | None, tuple[int, str]] = {None: (0, "")}
    listed = list(paths)
    for path in listed:
        if path not in found:
            found[path] = _ends(path)
    return [found[path] for path in listed]


def _ends(path: Path) -> tuple[int, str]:
    if not path.is_file():
        return -1, ""  # who reads it says so
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(END)
        file.seek(max(END, size - END))
        return size, hashlib.sha256(start + file.read(END)).hexdigest()[:16]


def _sums(rows: Iterable[Iterable[float]]) -> str:
    """The count of all numbers, `SUMS` weighted sums of them, and of their sizes."""
    parts = [np.asarray(row, np.float64).ravel() for row in rows]
    values = np.concatenate([*parts, np.zeros(0)])
    places = np.arange(len(values))
    weighed = values * (1 + places * 0.6180339887498949 % 1)  # so that an exchange is seen, too
    sums, sizes = (np.bincount(places % SUMS, x, SUMS) for x in (weighed, np.abs(weighed)))
    return " ".join(f"{number:.9g}" for number in (len(values), *sums, *sizes))


def _older(frames: list[Frame]) -> str:
    """Of frames' times, sizes, and pictures' names and file sizes."""
    digest = hashlib.sha256()
    for frame in frames:
        path = frame.image_path
        picture = (path.name, path.stat().st_size) if path else None
        digest.update(repr((frame.time, frame.camera.width, frame.camera.height, picture)).encode())
    return digest.hexdigest()[:16]
