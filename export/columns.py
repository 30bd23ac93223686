"""Gaussians as arrays for file formats, and back: what all of them share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from scene.gaussian_model import Gaussians
from utils.sh import C0

TINY = 1e-12  # world units; a scale of 0 has no logarithm
EDGE = 2.0**-24  # opacities of 0 and 1 have no logit


@dataclass(frozen=True)
class Columns:
    """A row per Gaussian, float32."""

    means: NDArray  # (N, 3) world units
    quats: NDArray  # (N, 4) wxyz, unit, w >= 0
    scales: NDArray  # (N, 3) world units, > 0
    opacities: NDArray  # (N,) in (0, 1)
    sh: NDArray  # (N, B, 3), B = (degree + 1)²

    @property
    def degree(self) -> int:
        return round(self.sh.shape[1] ** 0.5) - 1

    @property
    def rgb(self) -> NDArray:
        """(N, 3) colours without direction; not clipped."""
        return self.sh[:, 0] * C0 + 0.5

    def __len__(self) -> int:
        return len(self.means)

    def rows(self, order: NDArray) -> Columns:
        """The rows in another order."""
        return Columns(*(getattr(self, name)[order] for name in self.__dataclass_fields__))


def columns_of(gaussians: Gaussians) -> Columns:
    """The columns of Gaussians that have harmonics."""

    def array(tensor: torch.Tensor) -> NDArray:
        return tensor.detach().cpu().numpy().astype(np.float32)

    quats = array(torch.nn.functional.normalize(gaussians.quats, dim=-1))
    return Columns(
        array(gaussians.means),
        np.where(quats[:, :1] < 0, -quats, quats),
        np.maximum(array(gaussians.scales), TINY),
        np.clip(array(gaussians.opacities)[:, 0], EDGE, 1 - EDGE),
        array(gaussians.sh),
    )


def gaussians_of(columns: Columns) -> Gaussians:
    """The inverse of `columns_of`; quaternions are normalised."""

    def tensor(array: NDArray) -> torch.Tensor:
        return torch.from_numpy(np.array(array, np.float32))

    return Gaussians(
        means=tensor(columns.means),
        quats=torch.nn.functional.normalize(tensor(columns.quats), dim=-1),
        scales=tensor(columns.scales),
        opacities=tensor(columns.opacities)[:, None],
        sh=tensor(columns.sh),
        sh_degree=columns.degree,
    )


def morton_order(means: NDArray) -> NDArray:
    """(N,) rows along a Z curve of 10 bits an axis: neighbours in space come together, whose
    values differ little."""
    low, high = means.min(0), means.max(0)
    cells = ((means - low) / np.maximum(high - low, TINY) * 1023).astype(np.uint64)
    code = np.zeros(len(means), np.uint64)
    for bit in range(10):
        for axis in range(3):
            code |= ((cells[:, axis] >> np.uint64(bit)) & np.uint64(1)) << np.uint64(3 * bit + axis)
    return np.argsort(code, kind="stable")


def largest_of(quats: NDArray) -> tuple[NDArray, NDArray]:
    """(index (N,) of each quaternion's largest component, the other three (N, 3) in order, with
    the sign that makes the largest positive): the largest follows from them."""
    largest = np.abs(quats).argmax(1)
    rows = np.arange(len(quats))
    signed = quats * np.where(quats[rows, largest] < 0, -1, 1)[:, None]
    others = np.array([[k for k in range(4) if k != i] for i in range(4)])[largest]
    return largest, np.take_along_axis(signed, others, 1)


def with_largest(largest: NDArray, others: NDArray) -> NDArray:
    """(N, 4) the quaternions of `largest_of`."""
    quats = np.empty((len(largest), 4), np.float32)
    places = np.array([[k for k in range(4) if k != i] for i in range(4)])[largest]
    np.put_along_axis(quats, places, others.astype(np.float32), 1)
    rest = np.sqrt(np.maximum(1 - np.square(others.astype(np.float64)).sum(1), 0))
    quats[np.arange(len(largest)), largest] = rest
    return quats
