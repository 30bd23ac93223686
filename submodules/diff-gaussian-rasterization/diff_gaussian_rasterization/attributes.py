"""Per-Gaussian values that some forks draw or pass, in plain PyTorch on any device.

A row that holds NaN, Inf or numbers whose squares overflow gets NaN, which the rasterizer does not
draw, and zero gradient: the kernels' own contract, kept where autograd would give 0 · NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor

from diff_gaussian_rasterization import reference

_LARGE = 1e15  # float32 squares of more than 1.8e19 overflow; three of these and their sum do not


def facing_axes(means: Tensor, quats: Tensor, scales: Tensor, viewmat: Tensor) -> Tensor:
    """Unit normals "N 3", world space: each Gaussian's shortest axis, turned towards the camera.

    Gradients reach the quaternions; which axis is shortest, and its side, are choices without one.
    """
    usable = _tame(means) & _tame(quats) & (quats.abs().amax(1) > 1 / _LARGE)
    turn = reference.rotation(_keep(usable, quats))
    shortest = scales.detach().abs().argmin(1)[:, None, None].expand(-1, 3, 1)
    axes = turn.gather(2, shortest)[..., 0]
    return torch.where(usable[:, None], _towards_camera(axes, means, viewmat), torch.nan)


@torch.no_grad()
def facing_axes_of_covariances(means: Tensor, covariances: Tensor, viewmat: Tensor) -> Tensor:
    """As `facing_axes`, from covariances "N 6"; no gradient, as it is infinite for round ones."""
    usable = _tame(means) & _tame(covariances)
    full = _keep(usable, covariances)[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)
    axes = torch.linalg.eigh(full).eigenvectors[..., 0]  # eigenvalues ascend
    return torch.where(usable[:, None], _towards_camera(axes, means, viewmat), torch.nan)


def seen_colors(means: Tensor, sh: Tensor, camera: Tensor, degree: int) -> Tensor:
    """Colours "N 3" of sh "N B 3" seen from `camera` "3", which need not be the camera's centre."""
    usable = _tame(means) & _tame(sh)
    colors = reference.sh_colors(_keep(usable, sh), _keep(usable, means), camera, degree)
    return torch.where(usable[:, None], colors, torch.nan)


def stretched_covariances(quats: Tensor, scales: Tensor) -> Tensor:
    """Covariances "N 6" of R(q) S, with the formula's R(q) for quaternions of any length."""
    usable = _tame(quats) & _tame(scales)
    factor = reference.rotation_formula(_keep(usable, quats)) * _keep(usable, scales)[:, None]
    flat = (factor @ factor.mT).reshape(-1, 9)[:, [0, 1, 2, 4, 5, 8]]
    return torch.where(usable[:, None], flat, torch.nan)


def inverse_depths(means: Tensor, viewmat: Tensor, near: float) -> Tensor:
    """1 / z "N 1" in camera space; 1 up to the near plane, where nothing is drawn."""
    means = _keep(_tame(means), means)
    z = means @ viewmat[2, :3] + viewmat[2, 3]
    return torch.where(z > near, z, 1).reciprocal()[:, None]


def _towards_camera(axes: Tensor, means: Tensor, viewmat: Tensor) -> Tensor:
    with torch.no_grad():
        camera = -viewmat[:3, :3].T @ viewmat[:3, 3]
        away = ((means - camera) * axes).sum(1, keepdim=True) > 0
    return torch.where(away, -axes, axes)


def _tame(x: Tensor) -> Tensor:
    """Bool "N": rows whose numbers are finite and may be squared."""
    return (x.detach().abs() < _LARGE).flatten(1).all(1)


def _keep(usable: Tensor, x: Tensor) -> Tensor:
    """Rows of x, with ones for those that are not usable: finite values, no gradient."""
    return torch.where(usable.reshape(-1, *[1] * (x.dim() - 1)), x, 1)
