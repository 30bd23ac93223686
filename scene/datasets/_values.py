"""Numbers out of files, checked: what is no number, not finite or of another shape names its place.

`where` begins every message: the file, and what in it.
"""

from __future__ import annotations

import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from utils.errors import InputError
from utils.files import read_json

NOT_AN_ARRAY = (  # what numpy was seen to raise at damaged files
    OSError,
    ValueError,
    KeyError,
    EOFError,
    SyntaxError,
    TokenError,
    MemoryError,
    OverflowError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_object(file: Path) -> dict[str, Any]:
    """A JSON file that holds an object."""
    content = read_json(file)
    if not isinstance(content, dict):
        raise InputError(f"{file}: it holds {kind(content)}; expected an object")
    return content


def kind(value: Any) -> str:
    """A word for what stands in a JSON file."""
    words = {
        dict: "an object",
        list: "a list",
        str: "text",
        bool: "a truth value",
        type(None): "nothing",
    }
    return words.get(type(value), "a number")


def number(where: str, values: Mapping[str, Any], key: str) -> float:
    """A finite number."""
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where}: {key!r} is {_short(value)}; expected a number")
    if not abs(value) <= sys.float_info.max:  # holds for integers beyond it too
        raise InputError(f"{where}: {key!r} is {_short(value)}; expected a finite number")
    return float(value)


def numbers(where: str, values: Mapping[str, Any], key: str, shape: Sequence[int]) -> Tensor:
    """A tensor of finite float64 numbers of `shape`, in which -1 is any length but 0."""
    if key not in values:
        raise InputError(f"{where} has no {key!r}; expected {_form(shape)}")
    try:
        array = np.array(values[key])
    except (TypeError, ValueError, OverflowError):
        array = np.array(None)
    fits = array.ndim == len(shape) and all(
        n == m or (m < 0 and n > 0) for n, m in zip(array.shape, shape, strict=True)
    )
    if not fits or array.dtype.kind not in "iuf":
        raise InputError(f"{where}: {key!r} is not {_form(shape)}")
    if not np.isfinite(array).all():
        raise InputError(f"{where}: {key!r} holds NaN or infinite numbers; mend or remove them")
    return torch.from_numpy(array.astype(np.float64))


def pose(where: str, values: Mapping[str, Any], key: str, *, rows: int = 4) -> Tensor:
    """(4, 4) float64 from a 4x4 matrix, or with `rows=3` from a 3x4 one without its 0 0 0 1."""
    matrix = numbers(where, values, key, (rows, 4))
    return torch.cat([matrix, matrix.new_tensor([[0, 0, 0, 1]])[rows - 3 :]])


def text(where: str, values: Mapping[str, Any], key: str) -> str:
    """A text that is not empty."""
    value = values.get(key)
    if not isinstance(value, str) or not value or "\0" in value:
        raise InputError(f"{where}: {key!r} is {_short(value)}; expected a text")
    return value


def objects(where: str, values: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """A list of objects, at least one."""
    found = values.get(key)
    if not isinstance(found, list):
        raise InputError(f"{where}: {key!r} is {kind(found)}; expected a list of objects")
    if not found:
        raise InputError(f"{where}: it lists no {key}; at least one is needed")
    for row, value in enumerate(found):
        if not isinstance(value, dict):
            raise InputError(f"{where}: item {row} of {key!r} is {kind(value)}; expected an object")
    return found


@contextmanager
def camera_of(where: str, remedy: str) -> Iterator[None]:
    """What a constructor of Camera refuses, told with its place and a remedy."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"{where} is no camera: {error}; {remedy}") from None


def read_array(file: Path, shape: Sequence[int]) -> NDArray[np.float64]:
    """A .npy file of finite numbers of `shape`, in which -1 is any length but 0."""
    return _checked(str(file), read_arrays(file)[""], shape)


def read_arrays(file: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a .npz file by name, or the one of a .npy file under the name "".

    Nothing is unpickled. Raises InputError naming the file.
    """
    try:
        content = np.load(file, allow_pickle=False)
        return {"": content} if isinstance(content, np.ndarray) else dict(content.items())
    except FileNotFoundError:
        raise InputError(f"{file}: no such file; check the path") from None
    except NOT_AN_ARRAY as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{file}: cannot be read as numpy arrays ({said}); write it again"
        ) from None


def array_of(
    file: Path, arrays: Mapping[str, NDArray[Any]], key: str, shape: Sequence[int]
) -> Tensor:
    """One of the file's arrays as a finite float64 tensor of `shape`."""
    if key not in arrays:
        raise InputError(
            f"{file}: it has no array {key!r}; found {', '.join(list(arrays)[:8]) or 'none'}"
        )
    return torch.from_numpy(_checked(f"{file}: array {key!r}", arrays[key], shape))


def _checked(where: str, array: NDArray[Any], shape: Sequence[int]) -> NDArray[np.float64]:
    if (
        array.dtype.kind not in "iuf"
        or array.ndim != len(shape)
        or not all(n == m or (m < 0 and n > 0) for n, m in zip(array.shape, shape, strict=True))
    ):
        raise InputError(
            f"{where}: it holds {array.shape} of {array.dtype}; expected {_form(shape)}"
        )
    if not np.isfinite(array).all():
        raise InputError(f"{where}: it holds NaN or infinite numbers; mend or remove them")
    return array.astype(np.float64)


def _form(shape: Sequence[int]) -> str:
    if len(shape) == 1:
        return f"a list of {'' if shape[0] < 0 else f'{shape[0]} '}numbers"
    return f"a {'x'.join('n' if size < 0 else str(size) for size in shape)} matrix of numbers"


def _short(value: Any) -> str:
    try:
        said = repr(value)
    except ValueError:  # an integer of thousands of digits
        said = "a huge number"
    return said if len(said) < 40 else f"{said[:36]} ..."
