"""What of a clip can be used: what is refused, what is left out, and what is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from capture.find import Found
from capture.fit import NECK, Fit
from capture.table import rough_yaw
from capture.video import is_variable, takes
from utils.errors import InputError

USABLE = "ok"
LEAST, FEW = 100, 250  # usable frames: fewer are refused; fewer get a word
LYING = 45.0  # degrees of the eyes' line
UPSIDE = 0.05  # of the detector's score, by which a face is better seen turned by 180 degrees
SEVERAL = 0.05  # of the looks
HAND, CLOSE = 0.55, 2.0  # score of a palm; seconds between looks at the same hand
OUTSIDE = 0.05  # of the points
TURNED = 50.0  # degrees
BAD_FIT = 3.0  # times the median
DARK, DIM = 25.0, 45.0  # grey levels of the face: refused, warned
SMALL, SMALLISH = 90.0, 160.0  # pixels of the face's box
LOST = 0.4  # of the frames with a face that may be left out
YAW_RANGE, GAP_RANGE = 20.0, 0.15  # degrees; lip gap in parts of the mouth's width
STILL = 0.02  # grey levels between thumbnails; and the face moves by no pixel


@dataclass(frozen=True)
class Chosen:
    """The frames that are worth fitting."""

    found: Found  # of the take that is used
    first: int  # its first frame's number in the clip
    reasons: np.ndarray  # (T,) object, why each frame of the take is left out, or `USABLE`
    notes: tuple[str, ...]  # what the user is told

    @property
    def kept(self) -> np.ndarray:
        return np.flatnonzero(self.reasons == USABLE)


def choose(clip: str, found: Found, *, face_named: bool, least: int = LEAST) -> Chosen:
    """The take with the most usable frames, and these.

    Args:
        clip: the file's name, for messages.
        face_named: the user said which of several faces is meant.
        least: usable frames without which it is refused; a clip that only drives needs few.

    Raises:
        InputError: for a clip of which no avatar can be made.
    """
    notes: list[str] = []
    if not found.face.any():
        raise InputError(
            f"{clip}: no face found in {len(found.times)} frames; is it large and upright enough?"
        )
    first = 0
    parts = [part for part in takes(found.change) if found.face[part].any()]
    if len(takes(found.change)) > 1:
        best = max(parts, key=lambda part: _worth(found.part(part)))
        at, to = found.times[best.start], found.times[best.stop - 1]
        notes.append(
            f"the clip is cut at {_cuts(found)}: the take with the most usable frames is used, "
            f"frames {best.start} to {best.stop - 1} ({at:.2f} to {to:.2f} s)"
        )
        found, first = found.part(best), best.start
    seen = found.part(found.face)
    _refuse_lying(clip, seen)
    _refuse_several(clip, found, face_named)
    _refuse_quality(clip, seen, first, notes)
    reasons = _reasons(found)
    if is_variable(found.times):
        notes.append("its frame rate varies: each frame has the time that the file says")
    chosen = Chosen(found, first, reasons, tuple(notes))
    _refuse_short(clip, chosen, least)
    if least >= LEAST:
        _refuse_still(clip, seen)
    return chosen


def after_fit(
    clip: str, chosen: Chosen, fit: Fit, *, least: int = LEAST
) -> tuple[Chosen, np.ndarray]:
    """The frames whose fit is good, too; second, which rows of the fit they are."""
    yaw = np.abs(np.degrees(fit.pose[:, NECK + 1].numpy()))
    error = fit.error.numpy()
    bad = error > BAD_FIT * np.median(error)
    far = yaw > TURNED
    reasons, kept = chosen.reasons.copy(), chosen.kept
    reasons[kept[bad]] = "the fit is bad"
    reasons[kept[far]] = "turned away"
    notes = list(chosen.notes)
    turned = float(np.ptp(np.degrees(fit.pose[:, NECK + 1].numpy())))
    if turned < YAW_RANGE:
        notes.append(
            f"the head turns by {turned:.0f} degrees only: the avatar will not know its sides; "
            "turn slowly to both sides while filming"
        )
    points = chosen.found.points[kept]
    gap = np.linalg.norm(points[:, 13, :2] - points[:, 14, :2], axis=1)
    width = np.linalg.norm(points[:, 61, :2] - points[:, 291, :2], axis=1)
    opened = float(np.ptp(np.percentile(gap / width, [2, 98])))
    if opened < GAP_RANGE:
        notes.append(
            "the mouth hardly opens: the avatar will not learn to speak; talk while filming"
        )
    result = Chosen(chosen.found, chosen.first, reasons, tuple(notes))
    _refuse_short(clip, result, least)
    if len(result.kept) < FEW:
        notes.append(f"{len(result.kept)} usable frames are few: {FEW} or more make a good avatar")
    return Chosen(chosen.found, chosen.first, reasons, tuple(notes)), np.flatnonzero(~(bad | far))


def table(reasons: Sequence[str]) -> str:
    """How many frames are left out for which reason."""
    names, counts = np.unique([r for r in reasons if r != USABLE], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return ", ".join(f"{counts[k]} {names[k]}" for k in order) or "none"


def at(found: Found, frame: int, first: int = 0) -> str:
    return f"frame {first + frame} ({found.times[frame]:.2f} s)"


def _worth(take: Found) -> tuple[int, int]:
    """Usable frames of a take, and those with a face."""
    return int((_reasons(take) == USABLE).sum()), int(take.face.sum())


def _reasons(found: Found) -> np.ndarray:
    """(T,) object, why each frame of a take is left out, or `USABLE`."""
    reasons = np.full(len(found.times), USABLE, object)
    for mask, reason in (
        (_turned_away(found), "turned away"),
        (_leaves(found), "leaves the picture"),
        (_hands(found), "a hand before the face"),
        (~found.face, "no face"),
    ):
        reasons[mask] = reason
    return reasons


def _cuts(found: Found) -> str:
    starts = [part.start for part in takes(found.change)][1:]
    said = ", ".join(f"{found.times[k]:.2f} s" for k in starts[:4])
    return said + (f" and {len(starts) - 4} more times" if len(starts) > 4 else "")


def _refuse_lying(clip: str, seen: Found) -> None:
    radians = np.radians(seen.roll)
    roll = float(np.degrees(np.arctan2(np.median(np.sin(radians)), np.median(np.cos(radians)))))
    looked = seen.upside[~np.isnan(seen.upside)]
    if len(looked) and np.median(looked) > UPSIDE:
        roll += 180  # the nets take an upside-down face for one that stands, and see it badly
    if abs(roll) > LYING:
        turn = round(-roll / 90) * 90 % 360
        raise InputError(
            f"{clip}: the face lies on its side or upside down (its eyes' line is turned by "
            f"{roll:.0f} degrees); turn the video: --rotate {turn}"
        )


def _refuse_several(clip: str, found: Found, face_named: bool) -> None:
    looked = found.people >= 0
    several = looked & (found.people > 1)
    if not face_named and several.sum() > SEVERAL * looked.sum():
        frame = int(np.flatnonzero(several)[0])
        raise InputError(
            f"{clip}: {found.people[frame]} faces, first in {at(found, frame)}; say which one is "
            "meant: --face largest, left, right or centre"
        )


def _refuse_quality(clip: str, seen: Found, first: int, notes: list[str]) -> None:
    luma = float(np.median(seen.luma))
    boxes = seen.boxes
    side = float(np.median(np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])))
    if luma < DARK:
        raise InputError(
            f"{clip}: the face is too dark (mean grey level {luma:.0f} of 255, at least {DARK:.0f} "
            "is needed); film with a light before you"
        )
    if side < SMALL:
        raise InputError(
            f"{clip}: the face is {side:.0f} pixels wide, at least {SMALL:.0f} are needed; come "
            "nearer"
        )
    if luma < DIM:
        notes.append(f"the face is dark (mean grey level {luma:.0f} of 255): more light helps")
    if side < SMALLISH:
        notes.append(f"the face is {side:.0f} pixels wide: nearer to the camera it gets sharper")


def _refuse_short(clip: str, chosen: Chosen, least: int) -> None:
    usable, faces = len(chosen.kept), int(chosen.found.face.sum())
    if usable < least:
        raise InputError(
            f"{clip}: {usable} usable frames of {len(chosen.reasons)} are too few, at least "
            f"{least} are needed; left out: {table(chosen.reasons)}{_said(chosen)}"
        )
    if least >= LEAST and usable < (1 - LOST) * faces:
        raise InputError(
            f"{clip}: {faces - usable} of {faces} frames with a face cannot be used; "
            f"left out: {table(chosen.reasons)}{_said(chosen)}"
        )


def _said(chosen: Chosen) -> str:
    """The notes behind an error: what was made of the clip before it turned out too short."""
    return "".join(f"; {note}" for note in chosen.notes)


def _refuse_still(clip: str, seen: Found) -> None:
    moved = float(np.ptp(np.percentile(seen.points[:, :, :2], [5, 95], axis=0), axis=0).max())
    if float(np.percentile(seen.change[1:], 90)) < STILL and moved < 1.0:
        raise InputError(
            f"{clip}: nothing moves in it; an avatar is learned from a face that moves, speaks and "
            "turns: film a video"
        )


def _turned_away(found: Found) -> np.ndarray:
    yaw = np.abs(rough_yaw(np.nan_to_num(found.points)))
    return yaw > TURNED + 10  # the net's own depths are rough


def _leaves(found: Found) -> np.ndarray:
    x, y = np.nan_to_num(found.points[..., 0]), np.nan_to_num(found.points[..., 1])
    width, height = found.size
    return ((x < 0) | (x >= width) | (y < 0) | (y >= height)).mean(1) > OUTSIDE


def _hands(found: Found) -> np.ndarray:
    """Where a hand was seen in two looks within `CLOSE` seconds, and between them.

    A single look is a false alarm of the net more often than a hand.
    """
    covered = np.zeros(len(found.times), bool)
    looks = np.flatnonzero(~np.isnan(found.palms))
    hits = looks[found.palms[looks] > HAND]
    for a, b in pairwise(hits):
        if found.times[b] - found.times[a] <= CLOSE:
            # The hand came after the look before, and leaves before the next one.
            low = looks[max(np.searchsorted(looks, a) - 1, 0)] + 1
            high = looks[min(np.searchsorted(looks, b) + 1, len(looks) - 1)]
            covered[low : max(high, b + 1)] = True
    return covered
