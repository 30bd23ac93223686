"""The nets that look at a picture: faces, 468 points, irises, palms, and the person's outline.

Out of MediaPipe (Apache-2.0), run by LiteRT on one thread. Anchors, crops and the order of points
are those of MediaPipe's published graphs. Places are in pixels of the picture, pixel centres at .5.
Left and right are the person's own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.errors import InputError
from utils.files import read_bytes, reading
from utils.images import Pixels

Array = NDArray[np.float32]

FOLDER = Path(__file__).resolve().parents[1] / "data" / "models" / "face_nets"
LICENCE_FILE = "LICENSE"
NETS = {  # by our name: place in mediapipe/modules
    "faces": "face_detection/face_detection_short_range",
    "points": "face_landmark/face_landmark",
    "iris": "iris_landmark/iris_landmark",
    "person": "selfie_segmentation/selfie_segmentation",
    "palms": "palm_detection/palm_detection_lite",
}
N_POINTS = 468
RIGHT_EYE, LEFT_EYE = (33, 133), (263, 362)  # outer and inner corner
# Rows of the 468 that the first 16 points of the iris net are: the lids, lower then upper.
RIGHT_LIDS = (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173)
LEFT_LIDS = (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398)
FACE_CROP = 1.5  # of the points' box: what the landmark net was trained on
EYE_CROP = 2.3  # of the distance between the corners
FOUND = 0.5  # score of a face that counts
SAME = 0.3  # overlap of two boxes that are one face
ANCHORS = {"faces": (128, ((8, 2), (16, 6))), "palms": (192, ((8, 2), (16, 6)))}


@dataclass(frozen=True)
class Crop:
    """A turned square of a picture."""

    x: float  # its middle
    y: float
    side: float
    angle: float = 0.0  # radians, of its x axis

    def to_picture(self, size: int) -> NDArray[np.float64]:
        """(2, 3) from places in the crop, drawn `size` pixels wide, to places in the picture."""
        c, s = np.cos(self.angle) * self.side / size, np.sin(self.angle) * self.side / size
        turn = np.array([[c, -s], [s, c]])
        shift = np.array([self.x, self.y]) - turn @ [size / 2, size / 2]
        return np.column_stack((turn, shift))

    def cut(self, picture: Pixels, size: int) -> Array:
        """(size, size, 3) floats in [0, 1]; black outside the picture."""
        matrix = self.to_picture(size)
        matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5  # OpenCV: centres at integers
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(picture, matrix, (size, size), flags=flags).astype(np.float32) / 255

    def back(self, points: Array, size: int) -> Array:
        """Places (N, 2) in the crop as places in the picture."""
        matrix = self.to_picture(size)
        return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


@dataclass(frozen=True)
class Box:
    """A face or a palm."""

    score: float
    corners: tuple[float, float, float, float]  # x0 y0 x1 y1
    points: Array  # (6, 2) of a face: right and left eye, nose, mouth, right and left ear

    @property
    def side(self) -> float:
        return max(self.corners[2] - self.corners[0], self.corners[3] - self.corners[1])

    @property
    def middle(self) -> tuple[float, float]:
        x0, y0, x1, y1 = self.corners
        return (x0 + x1) / 2, (y0 + y1) / 2

    def crop(self) -> Crop:
        """Where the landmark net is to look."""
        return Crop(*self.middle, FACE_CROP * self.side, roll(*self.points[:2]))


def missing(folder: Path) -> list[str]:
    """Names of the files that are not there."""
    return [name for name in NETS if not (folder / f"{name}.tflite").is_file()]


def roll(right: Array, left: Array) -> float:
    """Radians that the line from the right eye to the left one is turned, clockwise."""
    x, y = np.asarray(left) - right
    return float(np.arctan2(y, x))


class FaceNets:
    """The nets of a folder, loaded when first used."""

    def __init__(self, folder: Path = FOLDER) -> None:
        """Raises InputError where a net or the program that runs them is missing."""
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise InputError(
                f"what runs the nets is missing ({error}); "
                "run: python -m pip install -r requirements-face.txt"
            ) from error
        gone = missing(folder)
        if gone:
            raise InputError(f"{folder}: no {gone[0]}.tflite; run python scripts/get_face_nets.py")
        self.folder, self._interpreter = folder, Interpreter
        self._loaded: dict[str, object] = {}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all nets."""
        digest = hashlib.sha256()
        for name in NETS:
            digest.update(read_bytes(self.folder / f"{name}.tflite"))
        return digest.hexdigest()

    def faces(self, picture: Pixels) -> list[Box]:
        """The faces that are seen, best first; they should fill a tenth of the picture or more."""
        return self._boxes("faces", picture, n_points=6)

    def palms(self, picture: Pixels) -> list[Box]:
        """The hands that are seen, with any score above a tenth, best first."""
        return self._boxes("palms", picture, n_points=7, least=0.1)

    def points(self, picture: Pixels, crop: Crop) -> tuple[Array, float]:
        """(468, 3) x, y and depth (the same pixels, from the head's middle), and the score."""
        raw, score = self._run("points", crop.cut(picture, 192))
        raw = raw.reshape(N_POINTS, 3)
        depth = raw[:, 2:] * (crop.side / 192)
        points = np.concatenate((crop.back(raw[:, :2], 192), depth), 1).astype(np.float32)
        return points, _sigmoid(float(score.ravel()[0]))

    def eyes(self, picture: Pixels, points: Array) -> tuple[Array, Array]:
        """Lids (2, 16, 2) and irises (2, 5, 2) of the right and the left eye."""
        lids, irises = [], []
        angle = roll(points[RIGHT_EYE[0], :2], points[LEFT_EYE[0], :2])
        for corners, mirrored in ((RIGHT_EYE, True), (LEFT_EYE, False)):
            a, b = points[list(corners), :2]
            crop = Crop(*((a + b) / 2), EYE_CROP * float(np.hypot(*(a - b))), angle)
            cut = crop.cut(picture, 64)
            contour, iris = self._run("iris", cut[:, ::-1] if mirrored else cut)
            for kept, raw, count in ((lids, contour, 16), (irises, iris, 5)):
                found = raw.reshape(-1, 3)[:count, :2].copy()
                found[:, 0] = 64 - found[:, 0] if mirrored else found[:, 0]
                kept.append(crop.back(found, 64))
        return np.stack(lids), np.stack(irises)

    def person(self, picture: Pixels) -> Array:
        """(H, W) in [0, 1]: the parts of a square picture that are a person."""
        height, width = picture.shape[:2]
        small = cv2.resize(picture, (256, 256), interpolation=cv2.INTER_AREA)
        (matte,) = self._run("person", small.astype(np.float32) / 255)
        return cv2.resize(matte.reshape(256, 256), (width, height), interpolation=cv2.INTER_LINEAR)

    def _boxes(
        self, net: str, picture: Pixels, *, n_points: int, least: float = FOUND
    ) -> list[Box]:
        size, _ = ANCHORS[net]
        height, width = picture.shape[:2]
        crop = Crop(width / 2, height / 2, max(width, height))
        cut = _letterbox(picture, size)
        # The face net was trained on [-1, 1], the palm net on [0, 1].
        regressed, scores = self._run(net, cut if net == "palms" else cut * 2 - 1)
        scores = _sigmoid(scores.ravel())
        kept = np.flatnonzero(scores > least)
        kept = kept[np.argsort(-scores[kept], kind="stable")]
        boxes: list[Box] = []
        for k in kept:
            values = regressed.reshape(len(scores), -1)[k]
            middle = values[:2] + _anchors(net)[k] * size
            corners = np.stack((middle - values[2:4] / 2, middle + values[2:4] / 2))
            points = values[4 : 4 + 2 * n_points].reshape(-1, 2) + _anchors(net)[k] * size
            placed = crop.back(np.concatenate((corners, points)).astype(np.float32), size)
            box = Box(float(scores[k]), tuple(map(float, placed[:2].ravel())), placed[2:])
            if all(_overlap(box, other) < SAME for other in boxes):
                boxes.append(box)
        return boxes

    def _run(self, net: str, values: Array) -> list[Array]:
        if net not in self._loaded:
            file = self.folder / f"{net}.tflite"
            with reading(file, "a net", "run python scripts/get_face_nets.py --force"):
                loaded = self._interpreter(model_content=read_bytes(file), num_threads=1)
                loaded.allocate_tensors()
            self._loaded[net] = loaded
        interpreter = self._loaded[net]
        place = interpreter.get_input_details()[0]["index"]
        interpreter.set_tensor(place, np.ascontiguousarray(values[None], np.float32))
        interpreter.invoke()
        details = interpreter.get_output_details()
        return [interpreter.get_tensor(detail["index"]) for detail in details]


def _letterbox(picture: Pixels, size: int) -> Array:
    """The whole picture in the middle of a black square, (size, size, 3) in [0, 1]."""
    height, width = picture.shape[:2]
    scale = size / max(height, width)
    w, h = max(1, round(width * scale)), max(1, round(height * scale))
    square = np.zeros((size, size, 3), np.float32)
    x, y = (size - w) // 2, (size - h) // 2
    small = cv2.resize(picture, (w, h), interpolation=cv2.INTER_AREA)
    square[y : y + h, x : x + w] = small.astype(np.float32) / 255
    return square


@cache
def _anchors(net: str) -> Array:
    """(A, 2) middles in parts of the picture: a grid per stride, several anchors a cell."""
    size, layers = ANCHORS[net]
    rows = []
    for stride, count in layers:
        n = size // stride
        y, x = np.mgrid[:n, :n]
        cells = (np.stack((x, y), -1).reshape(-1, 1, 2) + 0.5) / n
        rows.append(np.repeat(cells, count, 1).reshape(-1, 2))
    return np.concatenate(rows).astype(np.float32)


def _overlap(a: Box, b: Box) -> float:
    """Intersection of two boxes over their union."""
    low = np.maximum(a.corners[:2], b.corners[:2])
    high = np.minimum(a.corners[2:], b.corners[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    areas = [float(np.prod(np.subtract(box.corners[2:], box.corners[:2]))) for box in (a, b)]
    return shared / max(sum(areas) - shared, 1e-9)


def _sigmoid(value):
    return 1 / (1 + np.exp(-np.clip(value, -80, 80)))
