"""Local volumes: the neighbourhoods of a cloud of points. What lies in one is a convex combination
of its points, and turns with them (Neural Parametric Gaussians, Das et al., CVPR 2024, section
3.2; the turns are Horn's, "Closed-form solution of absolute orientation using unit quaternions",
JOSA A 1987, and not the published triangles')."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from utils.gather import gather_rows
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


def members(near: Tensor, cloud: Tensor) -> Tensor:
    """(N, 3, k) the points of each neighbourhood (N, k) of a cloud (M, 3), points last: sums over
    them are then over what lies together."""
    return gather_rows(cloud, near).mT.contiguous()


def inside(volumes: Tensor, anchor: Tensor, weights: Tensor) -> Tensor:
    """(G, 3) places of rows that are convex combinations of a neighbourhood.

    volumes: (N, 3, k) its members; anchor: (G,) int64 the one each row is in; weights: (G, k),
    sum 1.
    """
    own = gather_rows(volumes.flatten(1), anchor).unflatten(1, (3, -1))
    return (weights[:, None] * own).sum(2)


def shares(logits: Tensor) -> Tensor:
    """Softmax over the last axis. (PyTorch's own rounds its gradient by the number of threads.)"""
    powers = (logits - logits.detach().amax(-1, keepdim=True)).exp()
    return powers / powers.sum(-1, keepdim=True)


def turns(rest: Tensor, now: Tensor) -> Tensor:
    """(N, 4) unit quaternions: how each neighbourhood, of members `rest` (N, 3, k), turned to be
    `now`, least squares; differentiable in `now`.

    Where several turns are as good, as about the axis of points on a line, it is the smallest.
    """
    before, after = (volumes - volumes.mean(2, keepdim=True) for volumes in (rest, now))
    return _BestTurn.apply(after @ before.mT)


class _BestTurn(torch.autograd.Function):
    """Covariances H (N, 3, 3), now by rest, to the quaternions of the rotations R that maximise
    tr(R^T H).

    d R = [w] R with (tr(S) - S) w = vee(d H R^T - R d H^T), S = H R^T: the derivative of a polar
    decomposition. Where S hardly says how to turn, w is held small. Small
    matrices are held as (3, 3, N), so that a product is a few long sums.
    """

    @staticmethod
    def forward(ctx, H: Tensor) -> Tensor:
        own = H.double().permute(1, 2, 0).contiguous()
        quats = _largest_eigenvector(_horn(own)).T.contiguous()
        ctx.save_for_backward(own, quats)
        return quats.to(H)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        (H, quats), kind = ctx.saved_tensors, grad.dtype
        R, grad = quats_to_matrices(quats).permute(1, 2, 0), grad.double()
        w, v = quats[:, :1], quats[:, 1:]
        pull = w * grad[:, 1:] - v * grad[:, :1] + torch.linalg.cross(v, grad[:, 1:])
        S = _product(H, R.transpose(0, 1))
        S = (S + S.transpose(0, 1)) / 2
        size = S.flatten(0, 1).norm(dim=0).clamp(min=1e-30)
        eye = torch.eye(3, dtype=S.dtype, device=S.device)[:, :, None]
        holds = ((S[0, 0] + S[1, 1] + S[2, 2]) * eye - S) / size
        # Squared, as of a damped least-squares step: also where turns are held the wrong way round.
        eased = _product(holds, holds) + SOFT**2 * eye
        x, y, z = _solved(eased, _product(holds, pull.T[:, None] / size)[:, 0]) / 2
        zero = torch.zeros_like(x)
        cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).unflatten(0, (3, 3))
        return _product(cross, R).permute(2, 0, 1).to(kind)


def _product(one: Tensor, other: Tensor) -> Tensor:
    """(I, J, N) of (I, K, N) and (K, J, N)."""
    found = one[:, 0, None] * other[0]
    for k in range(1, len(other)):
        found = torch.addcmul(found, one[:, k, None], other[k])
    return found


def _solved(A: Tensor, b: Tensor) -> Tensor:
    """(3, N) x of A x = b, symmetric A (3, 3, N) by its cofactors."""
    pairs = ((A[1], A[2]), (A[2], A[0]), (A[0], A[1]))
    cofactors = torch.stack([torch.linalg.cross(*pair, dim=0) for pair in pairs])
    return _product(cofactors, b[:, None])[:, 0] / (A[0] * cofactors[0]).sum(0)


def _horn(H: Tensor) -> Tensor:
    """(4, 4, N) symmetric matrices whose largest eigenvector is the best turn of `H` (3, 3, N)."""
    (xx, yx, zx), (xy, yy, zy), (xz, yz, zz) = H
    entries = [
        xx + yy + zz, yz - zy, zx - xz, xy - yx,
        yz - zy, xx - yy - zz, xy + yx, zx + xz,
        zx - xz, xy + yx, yy - xx - zz, yz + zy,
        xy - yx, zx + xz, yz + zy, zz - xx - yy,
    ]  # fmt: skip
    return torch.stack(entries).unflatten(0, (4, 4))


def _largest_eigenvector(matrices: Tensor) -> Tensor:
    """(4, N) of symmetric matrices (4, 4, N) of trace 0, by squaring: all of them in a few
    products. Of a whole plane of them the one nearest to (1, 0, 0, 0)."""
    size = matrices.flatten(0, 1).norm(dim=0).clamp(min=1e-30)
    eye = torch.eye(4, dtype=matrices.dtype, device=matrices.device)[:, :, None]
    power = matrices / size + eye
    for _ in range(SQUARINGS):
        power = _product(power, power)
        power = power / power.diagonal().sum(1)
    shares = power.diagonal()
    best = torch.where(shares[:, 0] > SURE, 0, shares.argmax(1))
    found = power.gather(1, best.expand(4, 1, -1))[:, 0]
    return normalize(found, dim=0)
