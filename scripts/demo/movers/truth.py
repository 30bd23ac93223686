"""What a picture cannot say: where the movers are. `truth.json` of a demo scene."""

from __future__ import annotations

from scripts.demo.robot.shapes import Solid
from scripts.demo.robot.views import View

TRUTH = "truth.json"
MASKS = "moving"  # folder of masks: how much of each pixel shows a mover, 0 to 255


def entry(view: View, movers: list[Solid]) -> dict:
    """One picture's line: each mover, always in the same order, in world units."""
    return {
        "file_path": view.file_path,
        "mask_path": f"./{MASKS}/{view.file_path.removeprefix('./')}",
        "time": view.time,
        "movers": [
            {"name": mover.name, "center": mover.center.tolist(), "radius": float(mover.half[0])}
            for mover in movers
        ],
    }
