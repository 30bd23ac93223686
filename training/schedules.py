"""Schedules: step -> value."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

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


def rising(schedule: Schedule, steps: float) -> Schedule:
    """The schedule times a straight line from 0 to 1 over the first `steps`."""
    return lambda step: schedule(step) * min(step / max(steps, 1), 1)


def halved(value: float, at: Sequence[float], steps: int) -> Schedule:
    """`value`, halved when each of these parts of `steps` is done."""
    return lambda step: value * 0.5 ** sum((step - 1) / steps >= part for part in at)


def warm_cosine(peak: float, warm_up: int, steps: int, end: float) -> Schedule:
    """Up to `peak` along a straight line, then down to `end` times that along half a cosine; each
    step has the rate of the one before it, so the first two have none (NPG).
    """

    def value(step: int) -> float:
        place = max(step - 2, 0)
        if place < warm_up:
            return peak * place / warm_up
        part = min((place - warm_up) / max(steps - 2 - warm_up, 1), 1.0)
        return peak * (end + (1 - end) * (1 + math.cos(math.pi * part)) / 2)

    return value
