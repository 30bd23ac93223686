"""One face, frame by frame: the joint fit's identity is kept, and each picture adds one moment.

Two Gauss-Newton steps from the last frame's answer (finite differences), 30 frames a second and
more on one core. The driver is calibrated by two seconds of a neutral face.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from capture.eyes import eyes_of
from capture.find import Finder, Found, find
from capture.fit import (
    CROP,
    DERIVED,
    FACE_WIDE,
    FLIP,
    HUBER,
    JAW,
    LEFT_GAZE,
    NECK,
    OPENING,
    RIGHT_GAZE,
    Fit,
    Weights,
    derived_columns,
    directions,
    fit,
    limits_of,
)
from capture.nets import FACE_CROP, FaceNets
from capture.table import CONTOUR, LIP_PAIRS, LIPS, PointHead, PointTable, features, lid_opening
from utils.errors import InputError
from utils.images import Pixels

CALIBRATION = 2.0  # seconds of a neutral face
CALIBRATED_BY = 40  # frames of these, at most
ROUNDS = 2  # Gauss-Newton steps of a frame
NUDGE = 1e-3  # of the finite differences
POSES = 10  # unknowns before the expressions: turn 3, shift 3, jaw 2, gaze 2
MEMORY = 20.0  # how strongly a frame keeps the last one's jaw, gaze and expression


@dataclass
class LiveTracker:
    """Of one person before one camera."""

    nets: FaceNets
    head: PointHead
    names: tuple[str, ...]
    table: PointTable
    focal: float  # in longer sides of the picture

    def __post_init__(self) -> None:
        self.finder = Finder(self.nets)
        self.known: Fit | None = None
        self.level = np.ones(2)
        self.free = [k for k, name in enumerate(self.names) if not name.startswith(DERIVED)]
        kinds = torch.ones(len(self.head.template))
        kinds[list(LIPS)], kinds[list(CONTOUR)] = 2.0, 0.2
        kinds[468:] = 10.0
        self.kinds = kinds
        self.prior = self._prior(Weights())

    def _prior(self, w: Weights) -> Tensor:
        """(N, N) of the unknowns, quadratic, as the joint fit has it: small expressions, and lips
        that the jaw parts."""
        opening = torch.tensor([self.names[k].startswith(OPENING) for k in self.free])
        prior = torch.zeros(POSES + len(self.free), POSES + len(self.free))
        prior[POSES:, POSES:] = torch.diag(2 * w.size * torch.where(opening, w.opening, 1.0))
        a, b = torch.tensor(LIP_PAIRS).T
        basis = self.head.expression_basis[:, 1, self.free] * (CROP / FACE_WIDE)
        parts = basis[b] - basis[a]
        prior[POSES:, POSES:] += 2 * w.parting * parts.T @ parts
        return prior

    def calibrate(self, frames: list[tuple[float, Pixels]]) -> None:
        """Learn the driver's face from seconds and pictures of it at rest.

        Raises InputError where no face is seen.
        """
        kept = frames[:: max(1, len(frames) // CALIBRATED_BY)]
        found = find(kept, Finder(self.nets))
        if found.face.sum() < len(kept) / 2:
            raise InputError(
                f"a face is seen in {int(found.face.sum())} of {len(kept)} frames; sit before the "
                "camera, in the light, and start again"
            )
        self.learn(found.part(found.face))

    def learn(self, found: Found) -> None:
        """`calibrate`, by what was found already; all frames have a face."""
        focal = np.full(len(found.times), self.focal * float(found.size.max()))
        eyes = eyes_of(found, self.table, 25.0)
        fitted = fit(self.head, self.names, found, eyes, focal=focal, steps=120)
        last = fitted.part(np.array([len(found.times) - 1]))
        self.known, self.size = last, found.size
        self.level = np.percentile(eyes.opening.numpy(), 60, axis=0)

    def track(self, picture: Pixels) -> tuple[Tensor, Tensor] | None:
        """Expression (E,) and pose (15,); None where no face is seen."""
        if self.known is None:
            raise ValueError("calibrate first")
        row = self.finder.look(picture, palms=False)
        if row["presence"] == 0:
            return None
        points, lids, irises = (np.asarray(row[n]) for n in ("points", "lids", "irises"))
        self.known = self._solved(points, lids, irises)
        return self.known.expression[0], self.known.pose[0]

    def _solved(self, points: np.ndarray, lids: np.ndarray, irises: np.ndarray) -> Fit:
        seen = torch.from_numpy(np.concatenate((points[:, :2], irises[:, 0]))).float()
        side = float(np.ptp(points[:, :2], axis=0).max())
        scale = CROP / (FACE_CROP * side)
        opening = lid_opening(points[None], lids[None])[0]
        shut = float(self.table.openings[2])
        closing = (self.level - opening) / np.maximum(self.level - shut, 0.08)
        blink = torch.from_numpy(np.clip((closing - 0.12) / 0.88, 0, 1)).float()[None]
        state = self._packed(self.known)
        start = state.clone()
        for _ in range(ROUNDS):
            state = self._step(state, start, seen, scale, blink)
        pose, expression, shift = self._codes(state[None], blink)
        return replace(self.known, pose=pose, expression=expression, shift=shift)

    def _packed(self, known: Fit) -> Tensor:
        pose = known.pose[0]
        parts = [
            pose[NECK : NECK + 3],
            known.shift[0],
            pose[JAW : JAW + 2],
            pose[LEFT_GAZE : LEFT_GAZE + 2],
            known.expression[0, self.free],
        ]
        return torch.cat(parts)

    def _codes(self, states: Tensor, blink: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        turn, shift, jaw, gaze, free = states.split((3, 3, 2, 2, len(self.free)), 1)
        pose = torch.zeros(len(states), 15)
        pose[:, NECK : NECK + 3], pose[:, JAW : JAW + 2] = turn, jaw
        pose[:, LEFT_GAZE : LEFT_GAZE + 2] = pose[:, RIGHT_GAZE : RIGHT_GAZE + 2] = gaze
        expression = derived_columns(
            self.names, torch.stack((gaze, gaze), 1), blink.expand(len(states), -1)
        )
        expression[:, self.free] = free
        return pose, expression, shift

    def _seen(self, states: Tensor, blink: Tensor, where: Tensor) -> Tensor:
        pose, expression, shift = self._codes(states, blink)
        known = self.known
        points, _ = self.head.posed(pose, known.shape, expression, known.offset, where)
        local = points * FLIP + shift[:, None]
        middle = torch.from_numpy(self.size / 2).float()
        return known.focal[0] * local[..., :2] / local[..., 2:] + middle

    def _step(
        self, state: Tensor, start: Tensor, seen: Tensor, scale: float, blink: Tensor
    ) -> Tensor:
        count = len(state)
        pose, _, shift = self._codes(state[None], blink)
        where = features(directions(pose, shift))
        tried = torch.cat((state[None], state + NUDGE * torch.eye(count)))
        places = self._seen(tried, blink, where)
        off = (places[0] - seen) * scale
        length = off.norm(dim=1)
        weight = self.kinds * (HUBER / length.clamp(min=HUBER))
        weight[468:] *= 1 - blink[0].mean()
        rows = ((places[1:] - places[0]) * (scale / NUDGE)).permute(1, 2, 0).flatten(0, 1)
        heavy = weight.repeat_interleave(2)
        normal = (rows * heavy[:, None]).T @ rows
        right = -(rows * heavy[:, None]).T @ off.flatten()
        held = torch.full((count,), MEMORY)
        held[:6] = 0
        normal += self.prior + torch.diag(held + 1e-3)
        right -= self.prior @ state + held * (state - start)
        state = state + torch.linalg.solve(normal, right)
        state[POSES:] = state[POSES:].clamp(*limits_of(self.names))
        return state
