"""Rotations and rigid motions. Quaternions are (w, x, y, z); a twist (6,) is a rotation vector in
radians, then a shift."""

from __future__ import annotations

import torch
from torch import Tensor


def quats_to_matrices(quats: Tensor) -> Tensor:
    """(..., 4) quaternions of any length to (..., 3, 3) rotation matrices."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    entries = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(entries, dim=-1).reshape(*quats.shape[:-1], 3, 3)


def matrices_to_quats(matrices: Tensor) -> Tensor:
    """(..., 3, 3) rotation matrices to (..., 4) unit quaternions, smooth but for the sign.

    Each row below is the quaternion times four times one of its parts; the longest is taken.
    """
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(-1) for row in matrices.unbind(-2))
    rows = [
        1 + a + e + i, h - f, c - g, d - b,
        h - f, 1 + a - e - i, b + d, c + g,
        c - g, b + d, 1 - a + e - i, f + h,
        d - b, c + g, f + h, 1 - a - e + i,
    ]  # fmt: skip
    table = torch.stack(rows, -1).unflatten(-1, (4, 4))
    longest = table.diagonal(dim1=-2, dim2=-1).argmax(-1)[..., None, None]
    row = table.gather(-2, longest.expand(*longest.shape[:-1], 4))[..., 0, :]
    return torch.nn.functional.normalize(row, dim=-1)


def compose(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton product (..., 4): rotate by `b`, then by `a`."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    parts = [
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    ]
    return torch.stack(parts, dim=-1)


def axis_angle_to_matrices(axis_angle: Tensor) -> Tensor:
    """(..., 3) rotation vectors, radians, to (..., 3, 3) matrices; smooth at zero (Rodrigues).

    R = I + sin t / t K + (1 - cos t) / t^2 K^2, with the factors' series where t^2 is tiny, so that
    the gradient at rest is exact. The released FLAME layers add 1e-8 to every component instead.
    """
    square = axis_angle.square().sum(-1)
    tiny = square < 1e-8
    angle = torch.where(tiny, 1.0, square).sqrt()
    a = torch.where(tiny, 1 - square / 6, angle.sin() / angle)
    b = torch.where(tiny, 0.5 - square / 24, 2 * ((angle / 2).sin() / angle).square())
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).unflatten(-1, (3, 3))
    identity = torch.eye(3, dtype=x.dtype, device=x.device)
    return identity + a[..., None, None] * cross + b[..., None, None] * (cross @ cross)


def axis_angle_to_quats(axis_angle: Tensor) -> Tensor:
    """(..., 3) rotation vectors, radians, to (..., 4) unit quaternions, smooth also beyond half a
    turn."""
    half = axis_angle / 2
    angle = half.norm(dim=-1, keepdim=True)
    return torch.cat([angle.cos(), torch.sinc(angle / torch.pi) * half], dim=-1)


def as_turn(offset: Tensor) -> Tensor:
    """(N, 4) output of a network to a quaternion; zero becomes the identity (1, 0, 0, 0)."""
    return offset + torch.nn.functional.pad(torch.ones_like(offset[:, :1]), (0, 3))


def matrix_to_axis_angle(matrix: Tensor) -> Tensor:
    """(3, 3) rotation matrix to its rotation vector (3,), radians, below half a turn; smooth at
    rest."""
    quat = matrices_to_quats(matrix)
    w, axis = (quat * torch.where(quat[0] < 0, -1.0, 1.0)).split([1, 3])
    square = axis.square().sum()
    tiny = square < 1e-8
    sine = torch.where(tiny, 1.0, square).sqrt()
    return axis * torch.where(tiny, 2 / w, 2 * torch.atan2(sine, w) / sine)


def twist_to_pose(twist: Tensor) -> Tensor:
    """(6,) to the rigid motion (4, 4) that turns, then shifts."""
    turned = torch.cat([axis_angle_to_matrices(twist[:3]), twist[3:, None]], 1)
    return torch.cat([turned, torch.eye(4, dtype=twist.dtype, device=twist.device)[3:]])


def pose_to_twist(pose: Tensor) -> Tensor:
    """(4, 4) of less than half a turn to its twist (6,)."""
    return torch.cat([matrix_to_axis_angle(pose[:3, :3]), pose[:3, 3]])


def rigid_inverse(pose: Tensor) -> Tensor:
    """(4, 4) of a rotation and a shift (4, 4)."""
    turn = pose[:3, :3].T
    return torch.cat([torch.cat([turn, -turn @ pose[:3, 3:]], 1), pose[3:]])


def nearest_rigid(pose: Tensor) -> Tensor:
    """(4, 4) with the rotation nearest to its first three columns."""
    u, _, v = torch.linalg.svd(pose[:3, :3])
    pose = pose.clone()
    pose[:3, :3] = u @ v
    return pose
