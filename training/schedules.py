"""Schedules: step -> value."""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def constant(value: float) -> Schedule:
    return lambda step: value


def log_linear(start: float, end: float, steps: int) -> Schedule:
    """From `start` to `end` over `steps`, a straight line in the logarithm, then flat (3DGS).

    Every step counts from 1, as in the published systems.
    """
    if start <= 0 or end <= 0 or steps <= 0:
        return constant(start)

    def value(step: int) -> float:
        part = min(max(step / steps, 0.0), 1.0)
        return math.exp((1 - part) * math.log(start) + part * math.log(end))

    return value


def linear(start: float, end: float, steps: int) -> Schedule:
    """A straight line from `start` to `end` over `steps`, then flat."""
    return (
        lambda step: start + (end - start) * min(max(step / steps, 0.0), 1.0) if steps > 0 else end
    )


def later(schedule: Schedule, before: int) -> Schedule:
    """The schedule as steps see it that count from 1 again after `before` steps."""
    return lambda step: schedule(before + step)


def cooldown(steps: int, part: float) -> Schedule:
    """A factor: 1, then over the last `part` of `steps` a straight line down to a tenth."""
    length = part * steps
    fall = linear(1.0, 0.1, max(round(length), 1))
    return lambda step: fall(max(step - round(steps - length), 0))
