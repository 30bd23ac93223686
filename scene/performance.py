"""A trained model's sequence as a line from 0 to 1: what is between two of its moments, too."""

from __future__ import annotations

from dataclasses import replace

import torch

from scene.facts import CARRIED, SceneFacts, evenly, given
from scene.frames import NO_ROW, Frame
from utils.errors import InputError
from utils.rotations import nearest_rigid


def at(facts: SceneFacts, part: float) -> Frame:
    """The moment at `part` in [0, 1] of the performance, before the first camera shown.

    Where frames carry nothing but a time this is that time; otherwise the performance is the
    moments shown, and what they carry is interpolated between the two nearest.
    """
    shown = facts.shown
    carried = [name for name in CARRIED if given(shown, name)]
    if not carried:
        return replace(shown[0], time=part, index=NO_ROW)
    place = part * (len(shown) - 1)
    k = min(int(place), max(len(shown) - 2, 0))
    here, after = shown[k], shown[min(k + 1, len(shown) - 1)]
    share = place - k
    between = {n: torch.lerp(getattr(here, n), getattr(after, n), share) for n in carried}
    for name in ("head_to_world", "body_to_world"):
        if name in between:
            between[name] = nearest_rigid(between[name])
    time = (1 - share) * here.time + share * after.time
    return replace(shown[0], time=time, index=NO_ROW, **between)


def played(facts: SceneFacts, count: int) -> list[Frame]:
    """`count` moments evenly over the performance, most of them between those of the dataset."""
    return [at(facts, k / max(count - 1, 1)) for k in range(count)]


def frozen(facts: SceneFacts, part: float) -> list[Frame]:
    """The moment at `part`, seen along the path of the video."""
    moment = at(facts, part)
    return [replace(moment, camera=frame.camera) for frame in facts.video]


def from_all_sides(facts: SceneFacts, moments: int, sides: int) -> list[Frame]:
    """`moments` evenly over the performance, each from `sides` places on the path of the video."""
    cameras = [frame.camera for frame in evenly(facts.video, sides)]
    return [replace(m, camera=camera) for m in played(facts, moments) for camera in cameras]


def shown_moment(facts: SceneFacts, number: int) -> Frame:
    """The held-out moment of that number, as it is; InputError says how many there are."""
    if number >= len(facts.shown):
        last = len(facts.shown) - 1
        raise InputError(f"--frame {number}: the model knows the moments 0 to {last}")
    return replace(facts.shown[number], camera=facts.shown[0].camera)
