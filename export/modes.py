"""Moving Gaussians as a sum: what they are at rest, and modes that a few numbers weigh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.columns import Columns

STILL = 1e-4  # channels that change by less, in their own units, do not move
RIDGE = 1e-3  # of the samples' number, against controls that come only together
SOLO = 0.3  # weight of a control alone beside the performance, when modes are chosen


@dataclass(frozen=True)
class Modes:
    """channels(c) = base + sum over r of ((c - rest) @ weigh)_r modes_r."""

    channels: tuple[str, ...]  # C names of those that move, and of those that do not
    base: NDArray  # (C, N)
    moving: NDArray  # (M,) which channels move
    modes: NDArray  # (R, M, N)
    weigh: NDArray  # (E, R)
    rest: NDArray  # (E,)
    performance: NDArray  # (T, E)

    def at(self, controls: NDArray) -> NDArray:
        """(C, N) the channels for controls (E,)."""
        found = self.base.copy()
        found[self.moving] += np.tensordot((controls - self.rest) @ self.weigh, self.modes, 1)
        return found

    def performed(self, part: float) -> NDArray:
        """(E,) the controls at `part` in [0, 1] of the performance."""
        place = part * (len(self.performance) - 1)
        k = min(int(place), len(self.performance) - 2)
        return self.performance[k] + (place - k) * (self.performance[k + 1] - self.performance[k])


NAMES = ("x", "y", "z", "qw", "qx", "qy", "qz", "sx", "sy", "sz", "o", "r", "g", "b")


def channels_of(columns: Columns, like: NDArray) -> NDArray:
    """(14, N) place, quaternion on the side of `like` (N, 4), log scale, logit, degree 0."""
    turns = columns.quats * np.where((columns.quats * like).sum(1) < 0, -1, 1)[:, None]
    logits = np.log(columns.opacities / (1 - columns.opacities))
    parts = [columns.means, turns, np.log(columns.scales), logits[:, None], columns.sh[:, 0]]
    return np.concatenate(parts, axis=1).T.astype(np.float32)


def of_moments(frames: Sequence[NDArray], rank: int) -> Modes:
    """Of a scene that only time moves: principal components over its moments (F of (C, N))."""
    table = np.stack(frames)
    base = table.mean(0)
    table -= base
    moving = _moving(np.abs(table).max((0, 2)))
    flat = table[:, moving].reshape(len(table), -1)
    weighed = flat * _weights(base)[moving].ravel()
    values, vectors = np.linalg.eigh(weighed @ weighed.T)
    chosen = vectors[:, ::-1][:, : max(1, min(rank, int((values > 1e-8 * values[-1]).sum())))]
    modes = (chosen.T @ flat).reshape(chosen.shape[1], len(moving), -1)
    n = modes.shape[0]
    return Modes(NAMES, base, moving, modes, np.eye(n), np.zeros(n), chosen)


def of_face(frames: Sequence[NDArray], controls: NDArray, performance: NDArray, rank: int) -> Modes:
    """Of a model that follows controls (F, E), the first sample at rest: a linear fit, then the
    modes that carry most of what the performance (T, E) and each control alone do."""
    rest, base = controls[0], frames[0]
    table = np.stack(frames) - base
    moving = _moving(np.abs(table).max((0, 2)))
    flat = table[:, moving].reshape(len(table), -1)
    spread = np.maximum(controls.std(0), 1e-6)
    c = (controls - rest) / spread
    linear = np.linalg.solve(c.T @ c + RIDGE * len(c) * np.eye(c.shape[1]), c.T @ flat)
    shown = np.concatenate([(performance - rest) / spread, SOLO * np.eye(len(rest))])
    lower = np.linalg.cholesky(shown.T @ shown / len(shown) + 1e-9 * np.eye(len(rest)))
    weighed = lower.T @ (linear * _weights(base)[moving].ravel())
    values, vectors = np.linalg.eigh(weighed @ weighed.T)
    chosen = vectors[:, ::-1][:, : max(1, min(rank, int((values > 1e-8 * values[-1]).sum())))]
    modes = (chosen.T @ (lower.T @ linear)).reshape(chosen.shape[1], len(moving), -1)
    weigh = np.linalg.solve(lower.T, chosen) / spread[:, None]
    return Modes(NAMES, base, moving, modes.astype(np.float32), weigh, rest, performance)


def _moving(change: NDArray) -> NDArray:
    """(M,) channels that change; a quaternion, a place or a size moves as a whole."""
    groups = (range(3), range(3, 7), range(7, 10), range(10, 11), range(11, 14))
    found = [k for group in groups if change[list(group)].max() > STILL for k in group]
    return np.array(found or [0, 1, 2])


def _weights(base: NDArray) -> NDArray:
    """(C, N) how much an error shows: of opaque Gaussians more, of a place in their sizes."""
    seen = 1 / (1 + np.exp(-base[10]))
    size = np.exp(base[7:10]).mean(0)
    weights = np.ones_like(base)
    weights[:3] = 1 / np.maximum(size, 1e-3 * size.max())
    weights[11:] = 0.3
    return weights * seen * np.sqrt(size / size.mean())
