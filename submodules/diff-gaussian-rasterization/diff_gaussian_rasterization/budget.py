"""How much memory the pairs of tiles and Gaussians of one view may take: counted before stored."""

from __future__ import annotations

import os
from typing import NamedTuple

import torch

VARIABLE = "DIFF_GAUSSIAN_RASTERIZATION_PAIR_BUDGET"  # bytes; 0 = any number
CPU_BUDGET = 2 << 30  # bytes: 107 million pairs drawn, 27 million with gradients of 3 channels
MANY = 1 << 20  # pairs; room for fewer is kept between frames whatever they need


class PairBytes(NamedTuple):
    """What a pair of a tile and a Gaussian takes on a kind of device."""

    sorting: int  # bytes at most while a view is drawn
    kept: int  # bytes from then until its backward pass: a DgrPair
    marked: int  # bytes beside its share of the gradients
    packet: int  # numbers; a share is padded to a multiple of them

    def share(self, channels: int) -> int:
        """Numbers of its share of the gradients."""
        return -(-(_MOMENTS + channels) // self.packet) * self.packet

    def adding(self, channels: int = 3, number: int = 4) -> int:
        """Bytes beside `kept` during the backward pass; `number` = bytes of a number."""
        return self.marked + self.share(channels) * number


_MOMENTS = 7  # numbers of a share beside its colours, kMoments of csrc/rasterizer.h
# While sorting, a CPU holds Placed and DgrPair, a GPU key, order and DgrPair, all twice. Shares are
# padded to 16 numbers, as by pair_stride of csrc/rasterizer.h, and to 16 bytes of float.
PAIR_BYTES = {"cpu": PairBytes(20, 12, 1, 16), "cuda": PairBytes(48, 12, 0, 4)}


class OutOfMemoryError(RuntimeError):
    """A view has too many pairs; named as torch's, for callers who go by the name."""


class PairBudget:
    """Bytes for the pairs of one view: what was set, else VARIABLE, else a share of the memory."""

    def __init__(self):
        self._set: int | None = None
        self.last = 0  # pairs of the view that was checked last, refused or not

    def set(self, n_bytes: int | None) -> None:
        """See `set_pair_budget`."""
        if n_bytes is not None and (not isinstance(n_bytes, int) or n_bytes < 0):
            raise ValueError(f"the pair budget is {n_bytes!r}, expected bytes, 0 or None")
        self._set = n_bytes

    def bytes_on(self, device: torch.device) -> int:
        """0 = any number. ValueError where VARIABLE is no number of bytes."""
        if self._set is not None:
            return self._set
        if text := os.environ.get(VARIABLE):
            if not text.isdecimal():
                raise ValueError(f"{VARIABLE} is {text!r}, expected bytes, or 0 for no limit")
            return int(text)
        if device.type == "cuda":
            return torch.cuda.get_device_properties(device).total_memory // 2
        return CPU_BUDGET

    def check(self, pairs: int, each: int, device: torch.device) -> None:
        """OutOfMemoryError where so many pairs of `each` bytes are beyond the budget."""
        self.last = pairs
        budget = self.bytes_on(device)
        if budget and pairs * each > budget:
            raise OutOfMemoryError(
                f"{pairs:,} pairs of tiles and Gaussians would take {pairs * each / 2**30:,.1f} "
                f"GiB, more than the {budget / 2**30:,.1f} GiB allowed (set_pair_budget or "
                f"{VARIABLE}); draw fewer or smaller Gaussians, or smaller pictures."
            )


BUDGET = PairBudget()


def set_pair_budget(n_bytes: int | None) -> None:
    """What one view's pairs of tiles and Gaussians may take; beyond, drawing it is an error.

    n_bytes: 0 = any number; None = what the environment variable VARIABLE says, else 2 GiB on a
    CPU, half of the card's memory on a GPU. ValueError for anything else.
    """
    BUDGET.set(n_bytes)


def room_for(pairs: int, room: int) -> int:
    """How many pairs to keep room for where `room` is there and a frame has `pairs`."""
    if pairs <= room <= max(4 * pairs, MANY):
        return room
    return max(1, pairs + pairs // 4)  # the next frame may need a few more
