"""What a page is told first: where it may look from, when, and which sliders there are."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scene.controls import name_of
from scene.facts import SceneFacts
from scene.frames import Frame

HALF = 0.5  # radians that neck, jaw and eyes may be turned to either side
MAX_CAMERAS = 400  # that a page lists


def hello(
    facts: SceneFacts, frames: Sequence[Frame], *, training: bool = False, mesh: bool = False
) -> dict:
    """JSON: plain lists and numbers, world units, radians; whether a run is followed, and whether
    there is a head model to be drawn over it."""
    first = (frames or facts.shown)[0].camera
    return {
        "up": facts.up.tolist(),
        "target": facts.middle.tolist(),
        "size": [first.width, first.height],
        "fps": facts.fps,
        "seconds": facts.n_moments / facts.fps,
        # A face's time line is a performance that training did not see.
        "marks": [] if facts.conditions else sorted({round(frame.time, 4) for frame in frames}),
        "cameras": [
            {
                "eye": frame.camera.center.tolist(),
                "forward": frame.camera.forward.tolist(),
                "fov": frame.camera.fov_y,
                "part": min(max(frame.time, 0.0), 1.0),
                "pictured": frame.image_path is not None,
            }
            for frame in frames[:MAX_CAMERAS]
        ],
        "sliders": [*_expressions(facts), *_joints(facts)],
        "training": training,
        "mesh": mesh,
    }


def _expressions(facts: SceneFacts) -> list[dict]:
    known = facts.conditions.get("expression")
    if known is None:
        return []
    rows = []
    for k in range(len(known.mean)):
        low, high = float(known.low[k]), float(known.high[k])
        reach = max((high - low) / 2, 1e-3)
        rows.append(
            {
                "control": "expression", "place": k,
                "name": name_of(facts, "expression", k),
                "low": low - reach, "high": high + reach, "trained": [low, high],
                "rest": float(known.mean[k]),
            }
        )  # fmt: skip
    return rows


def _joints(facts: SceneFacts) -> list[dict]:
    known = facts.conditions.get("flame_pose")
    if known is None:
        return []
    rows = []
    for k in range(len(known.mean)):
        reach = math.pi if k < 3 else HALF  # the head itself turns all around
        rows.append(
            {
                "control": "flame_pose", "place": k, "name": name_of(facts, "flame_pose", k),
                "low": -reach, "high": reach,
                "trained": [float(known.low[k]), float(known.high[k])],
                "rest": float(known.mean[k]),
            }
        )  # fmt: skip
    return rows
