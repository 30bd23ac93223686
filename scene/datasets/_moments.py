"""Moments: their times and rows, the split of a video that states none, and novel paths."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from scene.cameras import Camera
from scene.datasets._settings import HoldOut
from scene.frames import NO_ROW, Frame
from scene.world import Placed
from utils.errors import InputError

OUTLIER = 1e-3  # of the clock: what is left to all other moments by a frame that is wrong


def time_of(moment: int, count: int) -> float:
    """Time in [0, 1] of one of `count` moments at equal distances."""
    return moment / max(count - 1, 1)


def rows_of(moments: Iterable[float]) -> dict[float, int]:
    """For every moment its row in tables that hold one row per moment."""
    return {moment: row for row, moment in enumerate(sorted(set(moments)))}


def clock_of(moments: Mapping[Any, float]) -> Callable[[float], float]:
    """From the dataset's clock to [0, 1] over all its moments, given by the name of what shows
    them. A clock within [0, 1] stays as it is.

    Raises InputError where one moment is so far from the others that these would become one.
    """
    first, last = min(moments.values()), max(moments.values())
    if first >= 0 and last <= 1:
        return lambda moment: moment
    inner, span = sorted(set(moments.values())), last - first
    for strange, others in ((inner[-1], inner[:-1]), (inner[0], inner[1:])):
        if (len(others) > 1 and not others[-1] - others[0] > OUTLIER * span) or span == math.inf:
            name = next(name for name, moment in moments.items() if moment == strange)
            raise InputError(
                f"{name}: its time is {strange:g}, all others are from {others[0]:g} to "
                f"{others[-1]:g}; correct it"
            )
    return lambda moment: (moment - first) / (span or 1.0)


def along(cameras: list[Camera]) -> list[Frame]:
    """The video: time runs from 0 to 1 along a path of cameras, between the dataset's moments."""
    return [Frame(c, NO_ROW, time_of(k, len(cameras))) for k, c in enumerate(cameras)]


def last_moments(
    frames: list[Frame], params: Placed, data: HoldOut, published: int = 0
) -> tuple[list[Frame], list[Frame]]:
    """Train and test frames: the last `data.hold_out` moments test; 0 means `published` of them.

    With `data.hold_out_blocks` as many test in blocks of that length, the last of every few. The
    frames' rows run from 0 without a gap. Without `params.eval` the test frames train too.
    Raises InputError where nothing would be left to train on.
    """
    moments = 1 + max(frame.index for frame in frames)
    wanted = data.hold_out or published
    count = round(wanted * moments) if wanted < 1 else round(wanted)
    if count >= moments:
        raise InputError(
            f"{params.source_path}: hold_out={wanted:g} holds out {count} of {moments} "
            "moments; leave some to train on"
        )
    held = set(range(moments - count, moments))
    if data.hold_out_blocks:
        held = _in_blocks(moments, count, data.hold_out_blocks)
    if count and not 0 < len(held) < moments:
        raise InputError(
            f"{params.source_path}: hold_out_blocks={data.hold_out_blocks} holds out {len(held)} "
            f"of {moments} moments; choose shorter blocks"
        )
    train = [frame for frame in frames if frame.index not in held or not params.eval]
    return train, [frame for frame in frames if frame.index in held]


def _in_blocks(moments: int, count: int, length: int) -> set[int]:
    """About `count` of the moments, in whole blocks that are evenly spread."""
    return {
        moment
        for moment in range(moments)
        if (moment // length + 1) * count // moments > moment // length * count // moments
    }
