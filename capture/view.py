"""The square picture of a clip that the avatar is made of: one crop and one camera for all frames.

The camera is turned to the face (a homography, exact for a pinhole), so that the principal point is
the square's middle wherever in the picture the person sits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from capture.find import Found
from utils.images import Pixels

ROOM = 2.2  # of the median face's size: the square's side
MARGIN = 1.15  # of the box around all the faces: the least


@dataclass(frozen=True)
class View:
    """From pixels of the video to those of the square."""

    matrix: np.ndarray  # (3, 3)
    size: int  # pixels
    focal: float  # pixels of the square

    @classmethod
    def of(cls, found: Found, focal: float, size: int) -> View:
        """About the faces of all frames of `found`; `focal` in sides (the longer) of the video."""
        boxes, (width, height) = found.boxes, found.size
        sides = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
        low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
        side = max(ROOM * float(np.median(sides)), MARGIN * float((high - low).max()))
        side = min(side, float(min(width, height)))
        middle = np.clip((low + high) / 2, side / 2, [width - side / 2, height - side / 2])
        pixels = focal * float(max(width, height))
        K = np.array([[pixels, 0, width / 2], [0, pixels, height / 2], [0, 0, 1]])
        scaled = pixels * size / side
        own = np.array([[scaled, 0, size / 2], [0, scaled, size / 2], [0, 0, 1]])
        matrix = own @ _towards(np.linalg.inv(K) @ [*middle, 1]) @ np.linalg.inv(K)
        return cls(matrix, size, scaled)

    def places(self, points: np.ndarray) -> np.ndarray:
        """Places (..., 2) of the video in the square."""
        seen = np.concatenate((points, np.ones_like(points[..., :1])), -1) @ self.matrix.T
        return (seen[..., :2] / seen[..., 2:]).astype(np.float32)

    def cut(self, picture: Pixels) -> Pixels:
        """The square (size, size, 3) of a frame, each pixel a mean over what it covers."""
        finer = max(1, round(0.75 * float(self._shrinks())))
        scale = np.diag([finer, finer, 1.0]) @ self.matrix
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])  # OpenCV: centres at integers
        drawn = cv2.warpPerspective(
            picture,
            np.linalg.inv(half) @ scale @ half,
            (finer * self.size,) * 2,
            flags=cv2.INTER_LINEAR if self._shrinks() > 1 else cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )
        if finer == 1:
            return drawn
        return cv2.resize(drawn, (self.size, self.size), interpolation=cv2.INTER_AREA)

    def seen(self, found: Found) -> Found:
        """What was found, in pixels of the square."""
        points = found.points.copy()
        points[..., :2] = self.places(found.points[..., :2])
        points[..., 2] /= self._shrinks()
        return replace(
            found,
            points=points,
            lids=self.places(found.lids),
            irises=self.places(found.irises),
            size=np.array([self.size, self.size]),
        )

    def _shrinks(self) -> float:
        """Pixels of the video in one of the square, at its middle."""
        back = np.linalg.inv(self.matrix)
        a, b = (back @ [self.size / 2 + x, self.size / 2, 1] for x in (0.0, 1.0))
        return float(np.linalg.norm(a[:2] / a[2] - b[:2] / b[2]))


def _towards(direction: np.ndarray) -> np.ndarray:
    """The smallest turn (3, 3) that takes a direction to +z."""
    direction = direction / np.linalg.norm(direction)
    axis = np.cross(direction, [0, 0, 1.0])
    length = np.linalg.norm(axis)
    if length < 1e-12:
        return np.eye(3)
    return cv2.Rodrigues(axis / length * np.arctan2(length, direction[2]))[0]
