"""The import path and name that 3DGS code uses: `from simple_knn._C import distCUDA2`."""

from __future__ import annotations

from torch import Tensor

from simple_knn import mean_knn_squared_distance

__all__ = ["distCUDA2"]


def distCUDA2(points: Tensor) -> Tensor:
    """Mean squared distance to the three nearest neighbours: (N, 3) -> (N,), on any device."""
    return mean_knn_squared_distance(points, k=3)
