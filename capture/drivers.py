"""Performances from elsewhere, by name: Live Link Face CSV, ARKit weights in JSON, and VMC packets.

Each becomes a `Performance`: the head model's expression columns, and its pose. Names are ARKit's,
in any case, with `Left` or `_L` behind; columns are never found by their place.
"""

from __future__ import annotations

import csv
import math
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from capture.fit import GAZE_ANGLE, JAW, LEFT_GAZE, NECK, RIGHT_GAZE
from utils.errors import InputError
from utils.files import read_bytes, read_json, reading

JAW_SIDE = 0.14  # radians of jawLeft at 1 (docs/head-model.md)
JAW_OPEN = 0.4255  # radians of jawOpen at 1, where the model does not say
APPLE_FPS = 60.0  # of Live Link Face, where timecodes do not say
HEAD = ("headyaw", "headpitch", "headroll")
EYES = ("lefteyeyaw", "lefteyepitch", "righteyeyaw", "righteyepitch")
DEGREES = 3.2  # angles beyond it are no radians
MAX_PACKET = 65_507  # bytes of a datagram
MAX_DEPTH = 8  # of bundles in bundles


@dataclass(frozen=True)
class Performance:
    """T moments."""

    expression: Tensor  # (T, E)
    pose: Tensor  # (T, 15)
    times: np.ndarray  # (T,) seconds from the first

    def __len__(self) -> int:
        return len(self.times)


def from_scores(
    rows: Sequence[Mapping[str, float]],
    times: Sequence[float],
    names: Sequence[str],
    jaw_open: float | None = None,
) -> Performance:
    """ARKit scores by name, one mapping a moment, as the head model's columns and pose.

    A score without a side goes to both sides' columns. Head and eye angles are radians, as the
    head model has them: yaw to its left, pitch down.
    """
    expression, pose = torch.zeros(len(rows), len(names)), torch.zeros(len(rows), 15)
    places = {name.lower(): k for k, name in enumerate(names)}
    for t, row in enumerate(rows):
        scores = {plain(name): float(value) for name, value in row.items()}
        for name, value in scores.items():
            for full in (name, f"{name}left", f"{name}right"):
                if full in places:
                    expression[t, places[full]] = value
        pose[t] = _pose(scores, JAW_OPEN if jaw_open is None else jaw_open)
    return Performance(expression, pose, np.asarray(times, float))


def read_livelink(path: Path, names: Sequence[str], jaw_open: float | None = None) -> Performance:
    """A CSV of Live Link Face: a timecode, and 61 columns found by their names.

    Versions of the app write angles in degrees or radians; their range says which.
    """
    with reading(path, "a CSV of Live Link Face", "export it again from the app"):
        text = read_bytes(path, 2**28).decode("utf-8-sig")
        table = list(csv.DictReader(text.splitlines()))
    if not table or not any(plain(str(key)) == "jawopen" for key in table[0]):
        there = ", ".join(str(key) for key in list(table[0] if table else {})[:5]) or "nothing"
        raise InputError(
            f"{path}: no column JawOpen among {there}...; expected a CSV of Live Link Face"
        )
    rows = []
    for number, line in enumerate(table):
        row = {}
        for key, value in line.items():
            if key is None or plain(key) in ("timecode", "blendshapecount"):
                continue
            row[key] = _number(value, f"{path}: line {number + 2}, {key}")
        rows.append(row)
    times = _timecodes([str(line.get("Timecode", "")) for line in table])
    return from_scores(_radians(rows), times, names, jaw_open)


def read_arkit(path: Path, names: Sequence[str], jaw_open: float | None = None) -> Performance:
    """JSON with ARKit weights: `{"names": [...], "frames": [{"weights": [...], "time": s}]}`, or
    a list of objects from name to score; `fps` beside them where frames have no time."""
    document = read_json(path)
    frames = document.get("frames", document) if isinstance(document, dict) else document
    order = document.get("names") if isinstance(document, dict) else None
    fps = float(document.get("fps", 30.0)) if isinstance(document, dict) else 30.0
    if not isinstance(frames, list) or not frames:
        raise InputError(f"{path}: no frames; expected a list of them, or names and frames")
    rows, times = [], []
    for k, frame in enumerate(frames):
        where = f"{path}: frame {k}"
        if not isinstance(frame, dict):
            raise InputError(f"{where} is {type(frame).__name__}, expected an object")
        weights = frame.get("weights", frame.get("blendshapes", frame))
        if isinstance(weights, list):
            if not isinstance(order, list) or len(order) != len(weights):
                raise InputError(f"{where} has {len(weights)} weights; 'names' must name each")
            weights = dict(zip(map(str, order), weights, strict=True))
        skipped = ("time", "rotation")
        rows.append(
            {n: _number(v, f"{where}, {n}") for n, v in weights.items() if n not in skipped}
        )
        times.append(_number(frame.get("time", k / fps), f"{where}, time"))
    return from_scores(rows, times, names, jaw_open)


def read_packet(data: bytes) -> list[tuple[str, list[object]]]:
    """The OSC messages of a datagram, bundles opened: address and arguments.

    Raises InputError for what is no OSC.
    """
    if len(data) > MAX_PACKET:
        raise InputError(f"a packet of {len(data)} bytes; expected at most {MAX_PACKET}")
    try:
        return list(_messages(data, 0))
    except (struct.error, ValueError, IndexError) as error:
        raise InputError(f"a packet that is no OSC ({error})") from None


class VmcState:
    """What VMC packets have said so far: scores and the head's turn; `apply` ends a moment."""

    def __init__(self) -> None:
        self.scores: dict[str, float] = {}
        self._coming: dict[str, float] = {}

    def take(self, data: bytes) -> bool:
        """Take a datagram in; whether a moment is complete."""
        complete = False
        for address, values in read_packet(data):
            if address == "/VMC/Ext/Blend/Val" and len(values) >= 2:
                self._coming[str(values[0])] = _finite(values[1])
            elif address == "/VMC/Ext/Blend/Apply":
                self.scores = {**self.scores, **self._coming}
                self._coming, complete = {}, True
            elif address == "/VMC/Ext/Bone/Pos" and len(values) >= 8 and values[0] == "Head":
                self._coming |= _turn(*(_finite(value) for value in values[4:8]))
        return complete


def plain(name: str) -> str:
    """A name in small letters, with `left` or `right` behind for any way to write sides."""
    name = re.sub(r"[_.\s-]+(l|left)$", "left", name.strip(), flags=re.IGNORECASE)
    name = re.sub(r"[_.\s-]+(r|right)$", "right", name, flags=re.IGNORECASE)
    return re.sub(r"[_.\s-]", "", name).lower()


def _pose(scores: Mapping[str, float], jaw_open: float) -> Tensor:
    pose = torch.zeros(15)
    get = lambda name: scores.get(name, 0.0)  # noqa: E731  (a table of sums follows)
    pose[NECK], pose[NECK + 1], pose[NECK + 2] = get("headpitch"), get("headyaw"), get("headroll")
    pose[JAW] = jaw_open * get("jawopen")
    pose[JAW + 1] = JAW_SIDE * (get("jawleft") - get("jawright"))
    for at, side, sign in ((LEFT_GAZE, "left", 1.0), (RIGHT_GAZE, "right", -1.0)):
        down = get(f"eyelookdown{side}") - get(f"eyelookup{side}")
        outward = get(f"eyelookout{side}") - get(f"eyelookin{side}")
        known = f"{side}eyepitch" in scores and f"{side}eyeyaw" in scores
        pose[at] = get(f"{side}eyepitch") if known else GAZE_ANGLE * down
        pose[at + 1] = get(f"{side}eyeyaw") if known else sign * GAZE_ANGLE * outward
    return pose


def _radians(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    angles = (*HEAD, *EYES)
    largest = max((abs(v) for row in rows for k, v in row.items() if plain(k) in angles), default=0)
    if largest <= DEGREES:
        return rows
    return [
        {k: math.radians(v) if plain(k) in angles else v for k, v in row.items()} for row in rows
    ]


def _timecodes(codes: Iterable[str]) -> np.ndarray:
    """Seconds from the first of hh:mm:ss:ff.sub; evenly, where one is not of that form."""
    found = [re.fullmatch(r"(\d+):(\d+):(\d+)[:;](\d+(?:\.\d+)?)", code.strip()) for code in codes]
    if not all(found):
        return np.arange(len(found)) / APPLE_FPS
    parts = np.array([[float(part) for part in match.groups()] for match in found])
    fps = 30.0 if parts[:, 3].max() < 30 else APPLE_FPS
    times = parts @ [3600.0, 60.0, 1.0, 1 / fps]
    steps = np.diff(times)
    return times - times[0] if (steps > 0).all() else np.arange(len(found)) / APPLE_FPS


def _messages(data: bytes, depth: int) -> Iterable[tuple[str, list[object]]]:
    if depth > MAX_DEPTH:
        raise ValueError("bundles too deep")
    if data.startswith(b"#bundle\0"):
        at = 16
        while at < len(data):
            (size,) = struct.unpack_from(">i", data, at)
            if not 0 < size <= len(data) - at - 4:
                raise ValueError("an element longer than its bundle")
            yield from _messages(data[at + 4 : at + 4 + size], depth + 1)
            at += 4 + size
        return
    address, at = _text(data, 0)
    kinds, at = _text(data, at) if at < len(data) else (",", at)
    if not address.startswith("/") or not kinds.startswith(","):
        raise ValueError("no address")
    values: list[object] = []
    for kind in kinds[1:]:
        if kind in "if":
            values.append(struct.unpack_from(f">{kind}", data, at)[0])
            at += 4
        elif kind == "s":
            text, at = _text(data, at)
            values.append(text)
        elif kind in "TF":
            values.append(kind == "T")
        else:
            raise ValueError(f"an argument of type {kind!r}")
    yield address, values


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(b"\0", at)
    return data[at:end].decode("utf-8", errors="replace"), (end + 4) // 4 * 4


def _turn(x: float, y: float, z: float, w: float) -> dict[str, float]:
    """Head angles of Unity's quaternion: x right, y up, z forward, left-handed."""
    return {
        "headPitch": math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y)),
        "headYaw": -math.asin(max(-1.0, min(1.0, 2 * (w * y - x * z)))),
        "headRoll": -math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)),
    }


def _finite(value: object) -> float:
    number = float(value)  # type: ignore[arg-type]
    return number if math.isfinite(number) else 0.0


def _number(value: object, where: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InputError(f"{where} is {str(value)[:40]!r}, expected a number") from None
    if not math.isfinite(number) or abs(number) > 1e6:
        raise InputError(f"{where} is {number}, expected a finite number")
    return number
