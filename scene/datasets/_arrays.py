"""Arrays out of numpy's files, checked; nothing is unpickled."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from utils.errors import InputError
from utils.files import reading, regular

MAX_BYTES = 2**28  # of all arrays of a file: cameras, coefficients, some million points


@dataclass(frozen=True)
class Arrays:
    """The arrays of a .npz file by name, or the one of a .npy file under the name ""."""

    file: Path
    values: dict[str, NDArray[Any]]

    def tensor(self, key: str, shape: Sequence[int]) -> Tensor:
        """One of them as a finite float64 tensor of `shape`, in which -1 is any length but 0."""
        if key not in self.values:
            found = ", ".join(list(self.values)[:8]) or "none"
            raise InputError(f"{self.file}: it has no array {key!r}; found {found}")
        where = f"{self.file}: array {key!r}" if key else str(self.file)
        array = self.values[key]
        if not fits(array, shape):
            raise InputError(
                f"{where}: it holds {array.shape} of {array.dtype}; expected {form(shape)}"
            )
        if not np.isfinite(array).all():
            raise InputError(f"{where}: it holds NaN or infinite numbers; mend or remove them")
        return torch.from_numpy(array.astype(np.float64))


def read_arrays(file: Path) -> Arrays:
    """What a .npz or .npy file holds. Raises InputError naming the file."""
    with reading(file, "numpy arrays"):
        _require_small(file)
        content = np.load(file, allow_pickle=False)
        single = isinstance(content, np.ndarray)
        return Arrays(file, {"": content} if single else dict(content.items()))


def _require_small(file: Path) -> None:
    """InputError where the arrays would take more than `MAX_BYTES`, as the file itself says."""
    size = regular(file)
    with file.open("rb") as opened:
        zipped = opened.read(4) == b"PK\x03\x04"
    if zipped:
        with zipfile.ZipFile(file) as members:
            size = sum(member.file_size for member in members.infolist())
    if size > MAX_BYTES:
        raise InputError(
            f"{file}: its arrays take {size:,} bytes; expected at most {MAX_BYTES:,}; check the "
            "path"
        )


def fits(array: NDArray[Any], shape: Sequence[int]) -> bool:
    """Whether it holds numbers in `shape`, in which -1 is any length but 0."""
    sizes = array.shape
    return array.dtype.kind in "iuf" and len(sizes) == len(shape) and all(
        n == m or (m < 0 and n > 0) for n, m in zip(sizes, shape, strict=True)
    )  # fmt: skip


def form(shape: Sequence[int]) -> str:
    """A shape in the words of the error messages."""
    if len(shape) == 1:
        return f"a list of {'' if shape[0] < 0 else f'{shape[0]} '}numbers"
    return f"a {'x'.join('n' if size < 0 else str(size) for size in shape)} matrix of numbers"
