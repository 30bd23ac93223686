"""Guidance: what says how a picture should change of a side that no camera saw.

Each file here is one, found by its name: its `open_guidance(folder, device, scale)` reads the
weights. Nothing of it is part of the model: a trained one needs no weights.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from training.samplers import Imagined
from utils.errors import InputError


class Guidance(Protocol):
    """A prior on how a subject looks from sides that were not filmed."""

    bytes: int  # that it holds and works in, where the model is
    seconds: float  # of one call

    def __call__(
        self,
        image: Tensor,
        frame: Imagined,
        window: tuple[float, float],
        source: torch.Generator,
    ) -> Tensor:
        """A scalar whose gradient improves `image` (3, H, W), drawn for `frame`, as a view of what
        the picture of `frame.likeness` shows. `window`: least and greatest part of the noise.
        `source` decides all that is random."""
        ...


def open_guidance(name: str, folder: str, device: torch.device, scale: float) -> Guidance | None:
    """The guidance `training/guidance/<name>.py` with the weights in `folder`; None for "none".

    What it is shown counts `scale` times as much as what it believes anyway.

    Raises InputError where there is none of that name, or its weights or libraries are missing.
    """
    if name not in (known := names()):
        raise InputError(f"guidance is {name!r}, expected one of {', '.join(known)}")
    return import_module(f"{__name__}.{name}").open_guidance(folder, device, scale)


def names() -> list[str]:
    """Of all there are."""
    return sorted(file.stem for place in __path__ for file in Path(place).glob("[!_]*.py"))
