"""Values out of JSON files, checked where they are taken: what is no number, not finite or of
another shape names its place."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scene.cameras import Camera
from scene.datasets._arrays import fits, form
from utils.errors import InputError
from utils.files import read_json

KINDS = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "a truth value",
    type(None): "nothing",
}


@dataclass(frozen=True)
class Entry:
    """An object of a file. `where` begins every message: the file, and what in it."""

    where: str
    values: Mapping[str, Any]

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def __or__(self, other: Entry) -> Entry:
        """The other, with the values of this one where it has none."""
        return Entry(other.where, {**self.values, **other.values})

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number, or the default where the key is not there."""
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{self.where}: {key!r} is {_short(value)}; expected a number")
        if not abs(value) <= sys.float_info.max:  # holds for integers beyond it too
            raise InputError(f"{self.where}: {key!r} is {_short(value)}; expected a finite number")
        return float(value)

    def numbers(self, key: str, shape: Sequence[int]) -> Tensor:
        """A tensor of finite float64 numbers of `shape`, in which -1 is any length but 0."""
        if key not in self:
            raise InputError(f"{self.where} has no {key!r}; expected {form(shape)}")
        try:
            array = np.array(self.values[key])
        except (TypeError, ValueError, OverflowError):
            array = np.array(None)
        if not fits(array, shape):
            raise InputError(f"{self.where}: {key!r} is not {form(shape)}")
        if not np.isfinite(array).all():
            raise InputError(
                f"{self.where}: {key!r} holds NaN or infinite numbers; mend or remove them"
            )
        return torch.from_numpy(array.astype(np.float64))

    def pose(self, key: str, *, rows: int = 4) -> Tensor:
        """(4, 4) float64 from a 4x4 matrix, or with `rows=3` from a 3x4 one without its 0 0 0 1."""
        matrix = self.numbers(key, (rows, 4))
        return torch.cat([matrix, matrix.new_tensor([[0, 0, 0, 1]])[rows - 3 :]])

    def camera(
        self,
        key: str,
        make: Callable[..., Camera],
        K: Tensor,
        size: tuple[int, int],
        world: Callable[[Tensor], Tensor] = lambda pose: pose,
        rows: int = 4,
    ) -> Camera:
        """What `make`, a constructor of Camera, makes of the pose `key`; `size`: width, height.

        `world` brings the pose to the scene: `World.held` or `World.seen`.
        """
        pose = world(self.pose(key, rows=rows))
        with camera_of(f"{self.where}: {key!r}", "mend or remove the frame"):
            return make(pose, K, *size)

    def text(self, key: str) -> str:
        """A text that is not empty."""
        value = self.values.get(key)
        # A lone surrogate, which JSON may hold, is the name of no file.
        if not isinstance(value, str) or not value or re.search("[\0\ud800-\udfff]", value):
            raise InputError(f"{self.where}: {key!r} is {_short(value)}; expected a text")
        return value

    def objects(self, key: str) -> list[Entry]:
        """A list of objects, at least one."""
        found = self.values.get(key)
        if not isinstance(found, list):
            raise InputError(f"{self.where}: {key!r} is {_kind(found)}; expected a list of objects")
        if not found:
            raise InputError(f"{self.where}: it lists no {key}; at least one is needed")
        places = [f"{self.where}: item {row} of {key!r}" for row in range(len(found))]
        for place, value in zip(places, found, strict=True):
            if not isinstance(value, dict):
                raise InputError(f"{place} is {_kind(value)}; expected an object")
        return [Entry(place, value) for place, value in zip(places, found, strict=True)]


def read_object(file: Path) -> Entry:
    """A JSON file that holds an object."""
    content = read_json(file)
    if not isinstance(content, dict):
        raise InputError(f"{file}: it holds {_kind(content)}; expected an object")
    return Entry(str(file), content)


@contextmanager
def camera_of(where: str, remedy: str) -> Iterator[None]:
    """What a constructor of Camera refuses, told with its place and a remedy."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"{where} is no camera: {error}; {remedy}") from None


def _kind(value: Any) -> str:
    """A word for what stands in a JSON file."""
    return KINDS.get(type(value), "a number")


def _short(value: Any) -> str:
    try:
        said = repr(value)
    except ValueError:  # an integer of thousands of digits
        said = "a huge number"
    return said if len(said) < 40 else f"{said[:36]} ..."
