"""Pictures to look at before training: what was tracked, over the video."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from capture.fit import FLIP, JAW, Fit, columns_of
from capture.verdict import USABLE
from scene.head.model import HeadModel, pose_head
from utils.images import Pixels

MESH, EDGE, POINT, SEEN = (90, 220, 255), (255, 80, 200), (60, 255, 60), (255, 160, 0)
LEAST = 256  # pixels of each side
BARS = (("jaw", 0.35), ("blink R", 1.0), ("blink L", 1.0), ("smile", 1.0))


class Overlay:
    """Draws frames of a fitted clip at half their size: the picture beside the tracked one."""

    def __init__(self, model: HeadModel, fit: Fit, size: int) -> None:
        self.fit, self.size = fit, size
        self.person, self.names = model.personal(fit.shape), columns_of(model)
        skin = torch.ones(len(model.template), dtype=torch.bool)
        for region in (
            "left_eyeball",
            "right_eyeball",
            "tongue",
            "mouth_interior",
            "eye_sockets",
            "upper_teeth",
            "lower_teeth",
            "teeth",
        ):
            skin[model.masks.get(region, torch.zeros(0, dtype=torch.int64))] = False
        self.faces = model.faces[skin[model.faces].all(1)].numpy()

    def mesh(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Vertices in the camera's axes (V, 3) and in pixels (V, 2)."""
        posed = pose_head(
            self.person, self.fit.pose[row], expression=self.fit.expression[row]
        ).vertices
        local = posed * FLIP + self.fit.shift[row]
        pixels = self.fit.focal[row] * local[:, :2] / local[:, 2:] + self.size / 2
        return local.numpy(), pixels.numpy()

    def draw(
        self, picture: Pixels, mask: np.ndarray, seen: np.ndarray, row: int | None, verdict: str
    ) -> Pixels:
        """The picture and its overlay side by side; `row` of the fit, None where it has none.

        `seen` are the net's points (468, 2).
        """
        half = max(LEAST, self.size // 2) // 2 * 2
        plain = cv2.resize(picture, (half, half), interpolation=cv2.INTER_AREA)
        drawn = plain.copy()
        scale = half / self.size
        edge, _ = cv2.findContours(
            (cv2.resize(mask, (half, half)) > 127).astype(np.uint8),
            cv2.RETR_EXTERNAL,
            cv2.CHAIN_APPROX_NONE,
        )
        cv2.drawContours(drawn, edge, -1, EDGE, 1)
        if row is not None:
            local, pixels = self.mesh(row)
            a, b, c = (local[self.faces[:, i]] for i in range(3))
            front = (np.cross(b - a, c - a) * a).sum(1) < 0
            corners = np.round(pixels[self.faces[front]] * scale * 16).astype(np.int32)
            lines = drawn.copy()
            cv2.polylines(lines, list(corners), True, MESH, 1, cv2.LINE_AA, shift=4)
            drawn = cv2.addWeighted(lines, 0.25, drawn, 0.75, 0)
            for x, y in np.round(self.fit.points[row].numpy() * scale).astype(int)[::3]:
                cv2.circle(drawn, (int(x), int(y)), 0, POINT, -1)
        if np.isfinite(seen).all():
            for x, y in np.round(seen * scale).astype(int)[::3]:
                cv2.circle(drawn, (int(x), int(y)), 0, SEEN, -1)
        if row is not None:
            self._bars(drawn, row)
        good = verdict == USABLE
        cv2.putText(
            drawn,
            verdict,
            (4, half - 6),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.4,
            (60, 255, 60) if good else (255, 60, 60),
            1,
            cv2.LINE_AA,
        )
        return np.concatenate((plain, drawn), 1)

    def outline(self, row: int, without: np.ndarray) -> np.ndarray:
        """(H, W) bool: where the mesh is seen, without the vertices `without` (V,) bool."""
        _, pixels = self.mesh(row)
        kept = self.faces[~without[self.faces].any(1)]
        drawn = np.zeros((self.size, self.size), np.uint8)
        for triangle in np.round(pixels[kept] * 16).astype(np.int32):
            cv2.fillConvexPoly(drawn, triangle, 1, shift=4)
        return drawn > 0

    def values(self, row: int) -> dict[str, float]:
        """What the bars show."""
        expression = dict(zip(self.names, self.fit.expression[row].tolist(), strict=True))
        smile = [expression.get(f"mouthSmile{side}", 0.0) for side in ("Left", "Right")]
        return {
            "jaw": float(self.fit.pose[row, JAW]),
            "blink R": expression.get("eyeBlinkRight", 0.0),
            "blink L": expression.get("eyeBlinkLeft", 0.0),
            "smile": sum(smile) / 2,
        }

    def _bars(self, drawn: Pixels, row: int) -> None:
        values = self.values(row)
        for k, (name, full) in enumerate(BARS):
            y, part = 6 + 12 * k, float(np.clip(values[name] / full, 0, 1))
            cv2.rectangle(drawn, (52, y), (52 + 50, y + 6), (40, 40, 40), -1)
            cv2.rectangle(drawn, (52, y), (52 + round(50 * part), y + 6), SEEN, -1)
            cv2.putText(
                drawn,
                name,
                (3, y + 7),
                cv2.FONT_HERSHEY_SIMPLEX,
                0.33,
                (255, 255, 255),
                1,
                cv2.LINE_AA,
            )
