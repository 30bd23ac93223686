"""Local volumes: the neighbourhoods of a cloud of points. What lies in one is a convex combination
of its points, and turns with them (Neural Parametric Gaussians, Das et al., CVPR 2024, section
3.2; the turns are Horn's, "Closed-form solution of absolute orientation using unit quaternions",
JOSA A 1987, and not the published triangles')."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding, normalize

from utils.rotations import quats_to_matrices

CHUNK = 2**22  # distances at a time
SQUARINGS = 12  # of a power iteration: eigenvalues a part in a thousand from each other are told
SURE = 1e-2  # share of no turn at all in the best ones, above which the smallest of them is taken
SOFT = 1e-3  # of a neighbourhood's size: turns that so little holds get no more gradient


def neighbourhoods(paths: Tensor, k: int) -> Tensor:
    """(N, k) int64 the points that stay nearest to each over the clip, itself first.

    paths: (T, N, 3) places at some moments. Two points are as far apart as the root mean square
    over these: what only touches once is no neighbour. k is at most N.
    """
    n = paths.shape[1]
    flat = paths.detach().transpose(0, 1).reshape(n, -1)
    flat = flat - flat.mean(0)
    found = []
    for start in range(0, n, max(CHUNK // n, 1)):
        rows = slice(start, start + max(CHUNK // n, 1))
        distance = torch.cdist(flat[rows], flat)
        own = torch.arange(start, start + len(distance), device=flat.device)
        distance[torch.arange(len(distance)), own] = -1.0
        found.append(distance.topk(k, largest=False).indices)
    return torch.cat(found)


def box_volume(low: Tensor, high: Tensor) -> Tensor:
    """(20, 3) corners of a box and the middles of its edges: a volume that never moves."""
    grid = torch.cartesian_prod(*[torch.tensor([0.0, 0.5, 1.0])] * 3)
    return low + (high - low) * grid[(grid == 0.5).sum(1) <= 1]


def inside(cloud: Tensor, near: Tensor, anchor: Tensor, weights: Tensor) -> Tensor:
    """(G, 3) places of rows that are convex combinations of a neighbourhood.

    cloud: (N, 3); near: (N, k) int64 neighbourhoods; anchor: (G,) int64 the one each row is in;
    weights: (G, k), sum 1. Gathered by `embedding`, whose gradient is the same for any number of
    threads.
    """
    volumes = embedding(near, cloud).flatten(1)  # (N, 3k): a row gathers one of them
    members = embedding(anchor, volumes).unflatten(1, (-1, 3))
    return (weights[:, :, None] * members).sum(1)


def shares(logits: Tensor) -> Tensor:
    """Softmax over the last axis. (PyTorch's own rounds its gradient by the number of threads.)"""
    powers = (logits - logits.detach().amax(-1, keepdim=True)).exp()
    return powers / powers.sum(-1, keepdim=True)


def turns(rest: Tensor, now: Tensor, near: Tensor) -> Tensor:
    """(N, 4) unit quaternions: how each neighbourhood of the cloud `rest` (N, 3) turned to be that
    of `now` (N, 3), least squares; differentiable in `now`.

    Where several turns are as good, as about the axis of points on a line, it is the smallest.
    """
    before, after = (embedding(near, cloud) for cloud in (rest, now))
    before = before - before.mean(1, keepdim=True)
    after = after - after.mean(1, keepdim=True)
    return _BestTurn.apply(after.mT @ before)


class _BestTurn(torch.autograd.Function):
    """Covariances H (N, 3, 3), now by rest, to the quaternions of the rotations R that maximise
    tr(R^T H).

    d R = [w] R with (tr(S) - S) w = vee(d H R^T - R d H^T), S = H R^T: the derivative of a polar
    decomposition. Where S hardly says how to turn, w is held small.
    """

    @staticmethod
    def forward(ctx, H: Tensor) -> Tensor:
        quats = _largest_eigenvector(_horn(H.double()))
        ctx.save_for_backward(H, quats)
        return quats.to(H)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        H, quats = ctx.saved_tensors
        R, grad = quats_to_matrices(quats), grad.double()
        w, v = quats[:, :1], quats[:, 1:]
        pull = w * grad[:, 1:] - v * grad[:, :1] + torch.linalg.cross(v, grad[:, 1:])
        S = H.double() @ R.mT
        S = (S + S.mT) / 2
        size = S.flatten(1).norm(dim=1).clamp(min=1e-30)[:, None, None]
        trace = S.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
        eye = torch.eye(3, dtype=S.dtype, device=S.device)
        holds = (trace * eye - S) / size
        # Squared, as of a damped least-squares step: also where turns are held the wrong way round.
        eased = holds @ holds + SOFT**2 * eye
        u = torch.linalg.solve(eased, holds @ (pull[:, :, None] / size))[:, :, 0] / 2
        x, y, z = u.unbind(1)
        zero = torch.zeros_like(x)
        cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).unflatten(1, (3, 3))
        return (cross @ R).to(H)


def _horn(H: Tensor) -> Tensor:
    """(N, 4, 4) symmetric matrices whose largest eigenvector is the best turn of `H` (N, 3, 3)."""
    (xx, yx, zx), (xy, yy, zy), (xz, yz, zz) = (row.unbind(-1) for row in H.unbind(-2))
    entries = [
        xx + yy + zz, yz - zy, zx - xz, xy - yx,
        yz - zy, xx - yy - zz, xy + yx, zx + xz,
        zx - xz, xy + yx, yy - xx - zz, yz + zy,
        xy - yx, zx + xz, yz + zy, zz - xx - yy,
    ]  # fmt: skip
    return torch.stack(entries, -1).unflatten(-1, (4, 4))


def _largest_eigenvector(matrices: Tensor) -> Tensor:
    """(N, 4) of symmetric matrices (N, 4, 4) of trace 0, by squaring: all of them in a few
    products. Of a whole plane of them the one nearest to (1, 0, 0, 0)."""
    size = matrices.flatten(1).norm(dim=1).clamp(min=1e-30)[:, None, None]
    power = matrices / size + torch.eye(4, dtype=matrices.dtype, device=matrices.device)
    for _ in range(SQUARINGS):
        power = power @ power
        power = power / power.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    shares = power.diagonal(dim1=1, dim2=2)
    best = torch.where(shares[:, 0] > SURE, 0, shares.argmax(1))
    found = power.gather(2, best[:, None, None].expand(-1, 4, 1))[:, :, 0]
    return normalize(found, dim=1)
