"""Settings that several families read: a reader's `DataParams` inherits those it has a use for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from arguments.settings import about, at_least, one_of, setting


@dataclass(frozen=True)
class Extension:
    extension: str = setting(
        ".png", "appended to the picture names in the file where it is missing"
    )


@dataclass(frozen=True)
class HoldOut:
    hold_out: float = setting(
        0.0,
        "frames held out at the end of a video that states no split: a part of them if below 1, "
        "else their number; 0 is the published number of the dataset",
        valid=at_least(0),
    )
    hold_out_blocks: int = setting(
        0,
        "hold them out in blocks of so many frames, evenly over the video, in place of its end, "
        "where heads are held as nowhere else; 0 is the end",
        valid=at_least(0),
    )


@dataclass(frozen=True)
class MouthBox:
    mouth_box: list[float] = field(
        default_factory=list,
        metadata=about(
            "lowest and highest corner (x y z x y z) of a box about the mouth, in the head's frame "
            "and the world's units; scores are given for it too; none: that of the dataset's family"
        ),
    )


@dataclass(frozen=True)
class Plate:
    plate: bool = setting(
        False, "draw in front of the dataset's picture of its background; needs part='all'"
    )


@dataclass(frozen=True)
class HeadModel:
    head_model: str = setting(
        "",
        "file of a head model in FLAME's layout, as scripts/make_head_model.py writes it or yours; "
        "none: head_model.npz in the dataset's folder, if it is there",
        is_path=True,
    )


@dataclass(frozen=True)
class MovingHead(HeadModel):
    fixed_head: bool = setting(
        False, "take the head's frame for the world: the cameras move instead of the head"
    )


def part_of(*parts: str) -> Any:
    """The setting of a family whose masks tell these parts of a picture."""
    meanings = {
        "all": "all",
        "person": "person (by masks; all where there are none)",
        "head": "head (by a parsing)",
    }
    words = ", ".join(meanings[part] for part in parts)
    return setting("person", f"what of the pictures is shown: {words}", valid=one_of(*parts))
