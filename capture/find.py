"""What the nets see in every frame of a clip: the face's points, eyes, hands, and other people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import cv2
import numpy as np

from capture.nets import FACE_CROP, FOUND, LEFT_EYE, RIGHT_EYE, Box, Crop, FaceNets, roll
from capture.video import thumbnail
from utils.images import Pixels

LOOK_AGAIN = 25  # frames between two looks for faces
PALMS_EVERY = 8  # frames between two looks for hands
FINGERS = 0.5  # of a palm's size: from its middle towards the fingers, where the hand's middle is
HAND = 1.0  # of a palm's size: from the hand's middle to its ends (MediaPipe: 1.3, with a margin)
BRIGHT = 100.0  # grey levels of a face; in darker pictures the palm net takes shades for hands
PLACES = ("largest", "left", "right", "centre")


@dataclass(frozen=True)
class Found:
    """T frames; where there is no face the places are NaN."""

    times: np.ndarray  # (T,) seconds
    points: np.ndarray  # (T, 468, 3) pixels
    lids: np.ndarray  # (T, 2, 16, 2) of the right and the left eye
    irises: np.ndarray  # (T, 2, 5, 2)
    presence: np.ndarray  # (T,) score of the landmark net, 0 where nothing was found
    people: np.ndarray  # (T,) faces seen; -1 where nobody looked
    palms: np.ndarray  # (T,) highest score of a hand on the face; NaN where nobody looked
    upside: np.ndarray  # (T,) score of the picture turned by 180 degrees less its own; NaN: unseen
    luma: np.ndarray  # (T,) mean grey level of the face's box
    change: np.ndarray  # (T,) mean difference of thumbnails to the frame before
    size: np.ndarray  # (2,) width and height of the pictures
    last: np.ndarray  # (1, 64, 64) thumbnail of the last frame

    @property
    def face(self) -> np.ndarray:
        """(T,) whether there is one."""
        return self.presence > FOUND

    @property
    def boxes(self) -> np.ndarray:
        """(T, 4) x0 y0 x1 y1 around the points."""
        xy = self.points[..., :2]
        return np.concatenate((xy.min(1), xy.max(1)), 1)

    @property
    def roll(self) -> np.ndarray:
        """(T,) degrees that the line of the eyes is turned, clockwise."""
        right, left = (self.points[:, list(eye), :2].mean(1) for eye in (RIGHT_EYE, LEFT_EYE))
        x, y = (left - right).T
        return np.degrees(np.arctan2(y, x))

    def part(self, kept: slice | np.ndarray) -> Found:
        """The frames of a run, or those of an index."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Found(**{k: v if k in WHOLE else v[kept] for k, v in values.items()})


WHOLE = ("size", "last")  # fields that are not of frames


class Finder:
    """Follows one face from frame to frame; it looks for it again where it was lost."""

    def __init__(self, nets: FaceNets, face: str = "largest") -> None:
        """`face`: which of several, one of `PLACES`."""
        self.nets, self.face = nets, face
        self.crop: Crop | None = None
        self.frame = 0

    def resume(self, found: Found) -> None:
        """Go on behind frames that were looked at before."""
        self.frame += len(found.times)
        if len(found.times):
            self.crop = around(found.points[-1]) if found.face[-1] else None

    def look(self, picture: Pixels, *, palms: bool = True) -> dict[str, object]:
        """The fields of `Found` that one picture gives."""
        people, upside, score, points = -1, np.nan, 0.0, None
        if self.crop is not None:
            points, score = self.nets.points(picture, self.crop)
        if score <= FOUND or self.frame % LOOK_AGAIN == 0:
            boxes = self.nets.faces(picture)
            people = len(boxes)
            turned = self.nets.faces(picture[::-1, ::-1]) if self.frame % LOOK_AGAIN == 0 else []
            if boxes and turned:
                upside = turned[0].score - boxes[0].score
            if score <= FOUND and boxes:
                chosen = _chosen(boxes, self.face, picture.shape[1])
                points, score = self.nets.points(picture, chosen.crop())
                # The detector's boxes are rough: once more about the points themselves.
                points, score = self.nets.points(picture, around(points))
        seen = score > FOUND
        self.crop = around(points) if seen else None
        look_for_palms = seen and palms and self.frame % PALMS_EVERY == 0
        self.frame += 1
        nothing = np.full((468, 3), np.nan, np.float32)
        lids, irises = (
            self.nets.eyes(picture, points)
            if seen
            else (np.full((2, n, 2), np.nan, np.float32) for n in (16, 5))
        )
        return {
            "points": points if seen else nothing,
            "lids": lids,
            "irises": irises,
            "presence": score if seen else 0.0,
            "people": people,
            "upside": upside,
            "palms": self._palms(picture, points) if look_for_palms else np.nan,
            "luma": _luma(picture, points) if seen else np.nan,
        }

    def _palms(self, picture: Pixels, points: np.ndarray) -> float:
        """The highest score of a hand that lies on the face."""
        low, high = points[:, :2].min(0), points[:, :2].max(0)
        luma = max(_luma(picture, points), 1.0)
        if luma < BRIGHT:
            picture = cv2.convertScaleAbs(picture, alpha=BRIGHT / luma)
        near = [box.score for box in self.nets.palms(picture) if _touches(box, low, high)]
        return max(near, default=0.0)


def find(
    frames: Iterable[tuple[float, Pixels]], finder: Finder, before: Found | None = None
) -> Found:
    """Look at every frame of a clip, seconds and picture, or of a part of it after `before`."""
    rows, size, last = [], (0, 0), None if before is None else before.last[0]
    for time, picture in frames:
        small = thumbnail(picture)
        change = 0.0 if last is None else float(np.abs(small - last).mean())
        last, size = small, (picture.shape[1], picture.shape[0])
        rows.append({"times": time, "change": change, **finder.look(picture)})
    names = [f.name for f in fields(Found) if f.name not in WHOLE]
    columns = {name: np.array([row[name] for row in rows]) for name in names}
    return Found(**columns, size=np.array(size), last=np.array([last]))


def around(points: np.ndarray) -> Crop:
    """The crop about 468 points, turned with the eyes, in which the net is to look next."""
    angle = roll(points[RIGHT_EYE[0], :2], points[LEFT_EYE[0], :2])
    c, s = np.cos(angle), np.sin(angle)
    turned = points[:, :2] @ np.array([[c, -s], [s, c]])
    low, high = turned.min(0), turned.max(0)
    x, y = np.array([[c, -s], [s, c]]) @ ((low + high) / 2)
    return Crop(float(x), float(y), FACE_CROP * float((high - low).max()), angle)


def _chosen(boxes: list[Box], face: str, width: int) -> Box:
    keys = {
        "largest": lambda box: -box.side,
        "left": lambda box: box.middle[0],
        "right": lambda box: -box.middle[0],
        "centre": lambda box: abs(box.middle[0] - width / 2),
    }
    return min(boxes, key=keys[face])


def _touches(palm: Box, low: np.ndarray, high: np.ndarray) -> bool:
    """Whether the hand of a palm reaches into a face's box; palm points 0 and 2 are wrist and
    middle finger."""
    toward = palm.points[2] - palm.points[0]
    toward = toward / max(float(np.hypot(*toward)), 1e-6)
    middle = np.array(palm.middle) + FINGERS * palm.side * toward
    reach = HAND * palm.side
    return bool(((middle + reach > low) & (middle - reach < high)).all())


def _luma(picture: Pixels, points: np.ndarray) -> float:
    height, width = picture.shape[:2]
    x0, y0 = np.clip(points[:, :2].min(0), 0, [width - 1, height - 1]).astype(int)
    x1, y1 = np.clip(points[:, :2].max(0), 1, [width, height]).astype(int)
    face = picture[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)].reshape(-1, 3)
    return float(face.mean(0) @ [0.299, 0.587, 0.114])
