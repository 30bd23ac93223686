"""Files of a folder, in the order people count them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from utils.errors import InputError
from utils.images import image_size

PICTURES = (".png", ".jpg", ".jpeg")


def natural(name: str) -> list[tuple[int, int, str]]:
    """A sorting key under which 2 comes before 10."""
    pieces = re.findall(r"(\d{1,300})|(\D+)", name)
    return [(0, int(digits), "") if digits else (1, 0, word) for digits, word in pieces]


def pictures(folder: Path) -> list[Path]:
    """The PNG and JPEG files of a folder, in natural order; none where there is no such folder."""
    if not folder.is_dir():
        return []
    found = [
        path for path in folder.iterdir()
        if path.suffix.lower() in PICTURES and not path.name.startswith(".")
    ]  # fmt: skip
    return sorted(found, key=lambda path: natural(path.name))


def require_pictures(folder: Path, what: str) -> list[Path]:
    """`pictures(folder)`, at least one; InputError says that `what` was expected there."""
    found = pictures(folder)
    if not found:
        raise InputError(f"{folder}: no PNG or JPEG file here; expected {what}")
    return found


def common_size(paths: Sequence[Path]) -> tuple[int, int]:
    """Width and height of pictures that share one camera; InputError names one of another size."""
    size = image_size(paths[0])
    for path in paths[1:]:
        other = image_size(path)
        if other != size:
            raise InputError(
                f"{path}: it has {other[0]}x{other[1]} pixels, {paths[0].name} has "
                f"{size[0]}x{size[1]}; give all the same size"
            )
    return size
