"""Mean squared distance of every 3D point to its nearest neighbours."""

from __future__ import annotations

import functools
import warnings
from importlib.util import find_spec

import torch
from torch import Tensor

__all__ = ["mean_knn_squared_distance"]


def mean_knn_squared_distance(points: Tensor, k: int = 3) -> Tensor:
    """Mean of the squared distances from each point to its k nearest other points.

    points: (N, 3), floating, any device. Returns (N,) in the square of the points' unit, with
    their device and dtype, without gradient. Where fewer than k other points exist the mean is
    over those; a lone point gets 0. A coincident point is a neighbour at distance 0.

    CUDA tensors are searched on their card where kernels run there, up to 8 neighbours and
    500,000 points; everything else on the CPU. Both are exact.

    Raises TypeError for what is not a floating tensor, ValueError for another shape, for k < 1
    and for coordinates that are not finite.
    """
    _check(points, k)
    if len(points) < 2:
        return points.new_zeros(len(points))
    if points.is_cuda and (reason := _why_no_kernels(points.device)) is None:
        from simple_knn import cuda

        if k <= cuda.MAX_K and len(points) <= cuda.MAX_POINTS:
            kernels = functools.partial(cuda.PROGRAM.kernels, points.device)
            return cuda.mean_squared_distance(points, k, kernels)
    elif points.is_cuda:
        warnings.warn(f"simple-knn searches on the CPU: {reason}", RuntimeWarning, stacklevel=2)
    return _search_tree(points, k)


def _search_tree(points: Tensor, k: int) -> Tensor:
    from scipy.spatial import cKDTree  # a seventh of a second, for whoever builds a tree

    # Double precision: squares of single-precision gaps far from the origin lose their digits.
    coordinates = points.detach().to(device="cpu", dtype=torch.float64).numpy()
    distances, _ = cKDTree(coordinates).query(
        coordinates, k=min(k + 1, len(points)), workers=torch.get_num_threads()
    )
    # Distances ascend and the point's own 0 is among them, so dropping the first drops it.
    means = torch.from_numpy(distances[:, 1:]).square().mean(dim=1)
    return means.to(device=points.device, dtype=points.dtype)


def _why_no_kernels(device: torch.device) -> str | None:
    if find_spec("nvrtc_launch") is None:
        return "nvrtc-launch is not installed; pip install ./submodules/nvrtc-launch"
    from nvrtc_launch import why_not

    return why_not(device)


def _check(points: Tensor, k: int) -> None:
    if not isinstance(points, Tensor) or not points.is_floating_point():
        found = points.dtype if isinstance(points, Tensor) else type(points).__name__
        raise TypeError(f"points must be a floating tensor of shape (N, 3), found {found}")
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points must have shape (N, 3), found {tuple(points.shape)}")
    if k < 1:
        raise ValueError(f"k must be at least 1, found {k}")
    finite = points.detach().isfinite().all(dim=1)
    if not finite.all():
        row = int((~finite).nonzero()[0])
        raise ValueError(
            f"points must be finite, found {points[row].tolist()} in row {row} "
            f"({int((~finite).sum())} such rows of {len(points)}); remove them first"
        )
