"""Slow twins of the kernels in plain PyTorch: the truth in tests, and the code for other devices.

They take the same arguments and give the same results to rounding; arguments are not checked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

RADIUS, SIGMA = 5, 1.5  # of the SSIM window
C1, C2 = 0.01**2, 0.03**2


def plane_features(
    planes: Sequence[Sequence[Tensor]],
    points: Tensor,
    *,
    pairs: Sequence[tuple[int, int]],
    time: float | None = None,
) -> Tensor:
    """Features "N L*C" of `points` "N A"; see `fused_fields.plane_features`."""
    if time is not None:
        points = torch.cat([points, points.new_full((len(points), 1), time)], dim=1)
    levels = []
    for level in planes:
        product = points.new_ones(len(points), level[0].shape[2])
        for plane, pair in zip(level, pairs, strict=True):
            product = product * _sample(plane, points[:, list(pair)])
        levels.append(product)
    features = torch.cat(levels, dim=1)
    used = points[:, sorted({axis for pair in pairs for axis in pair})]
    return torch.where(used.isnan().any(1, keepdim=True), torch.nan, features)


def _sample(plane: Tensor, at: Tensor) -> Tensor:
    """Bilinear samples "N C" of a plane "rows cols C" at (column, row) "N 2" in [-1, 1]."""
    if len(at) == 0:
        return at.new_zeros(0, plane.shape[2])
    samples = F.grid_sample(
        plane.permute(2, 0, 1)[None], at[None, None],
        mode="bilinear", padding_mode="border", align_corners=True,
    )  # fmt: skip
    return samples[0, :, 0].T


def add_offsets(
    columns: Sequence[Tensor], offsets: Sequence[Tensor], limits: Sequence[float]
) -> list[Tensor]:
    """See `fused_fields.add_offsets`."""
    return [
        column + (limit * torch.tanh(offset / limit) if limit else offset)
        for column, offset, limit in zip(columns, offsets, limits, strict=True)
    ]


def plane_penalties(planes: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The sum that `fused_fields.add_plane_penalties` returns, with a graph; three weights for each
    plane, side by side."""
    terms = []
    for plane in planes:
        rows, cols = (_second_difference(plane, dim=dim) for dim in (0, 1))
        terms += [rows, cols, (1 - plane).abs().mean()]
    return torch.stack([weight * term for weight, term in zip(weights, terms, strict=True)]).sum()


def add_plane_penalties(
    planes: Sequence[Tensor], grads: Sequence[Tensor], weights: Sequence[float]
) -> Tensor:
    """As `fused_fields.add_plane_penalties`, by autograd."""
    leaves = [plane.detach().requires_grad_() for plane in planes]
    with torch.enable_grad():
        found = plane_penalties(leaves, weights)
    for grad, own in zip(grads, torch.autograd.grad(found, leaves), strict=True):
        grad.add_(own)
    return found.detach()


def _second_difference(plane: Tensor, *, dim: int) -> Tensor:
    if plane.shape[dim] < 3:
        return plane.sum() * 0
    return plane.diff(n=2, dim=dim).square().mean()


def offset_mlp(
    features: Tensor | Sequence[Tensor],
    trunk: Sequence[tuple[Tensor, Tensor]],
    hidden: tuple[Tensor, Tensor],
    heads: Sequence[tuple[Tensor, Tensor]],
    activation: str = "relu",
    again: int = 0,
    bf16: bool = False,
    parts: Sequence[int] = (),
) -> list[Tensor]:
    """One tensor "N k" per head, or per part of the only one; see `fused_fields.offset_mlp`."""
    linear = _RoundedLinear.apply if bf16 else F.linear
    features = features if isinstance(features, Tensor) else torch.cat(list(features), dim=1)
    active, first = {"relu": F.relu, "sigmoid": torch.sigmoid}[activation], features
    for k, (weight, bias) in enumerate((*trunk, hidden)):
        if k == again > 0:
            features = torch.cat([first, features], dim=1)
        features = active(linear(features, weight, bias))
    blocks = features.chunk(len(heads), dim=1)
    outputs = [linear(block, *head) for block, head in zip(blocks, heads, strict=True)]
    return list(outputs[0].split(list(parts), dim=1)) if parts else outputs


def composite(pixels: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
    """Picture and alpha of bytes; see `fused_fields.composite`."""
    # Bytes are turned, not floats, and the result is dense: whatever reads it is twice as fast.
    planes = pixels.permute(2, 0, 1).contiguous().to(background.dtype).div_(255)
    if len(planes) == 3:
        return planes, torch.ones_like(planes[:1])
    behind = background.reshape(3, *background.shape[1:] or (1, 1))
    return torch.lerp(behind, planes[:3], planes[3:]), planes[3:]


def encode(points: Tensor, octaves: int) -> Tensor:
    """Points "N 3", their sines and their cosines; see `fused_fields.encode`."""
    powers = 2.0 ** torch.arange(octaves, device=points.device, dtype=points.dtype)
    angles = points[:, None] * powers[:, None]  # (N, octaves, 3)
    waves = torch.cat([angles.sin(), angles.cos()], dim=2)
    return torch.cat([points, waves.flatten(1)], dim=1)


def unit_rows(rows: Tensor, origin: Tensor | None = None) -> Tensor:
    """Rows "N k" of length one; see `fused_fields.unit_rows`."""
    return F.normalize(rows if origin is None else rows - origin, dim=1)


class _RoundedLinear(torch.autograd.Function):
    """F.linear whose products, forward and backward, are those of operands in bfloat16."""

    @staticmethod
    def forward(ctx, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        inputs, weight = (each.bfloat16().to(each) for each in (inputs, weight))
        ctx.save_for_backward(inputs, weight)
        return F.linear(inputs, weight, bias)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        inputs, weight = ctx.saved_tensors
        rounded = grad.bfloat16().to(grad)
        return rounded @ weight, rounded.T @ inputs, grad.sum(0)


def activate(
    quats: Tensor,
    log_scales: Tensor,
    opacity_logits: Tensor,
    sh_dc: Tensor,
    sh_rest: Tensor,
    bands: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Unit quats, scales, opacities and SH of `bands` bands; see `fused_fields.activate`."""
    return (
        F.normalize(quats, dim=-1),
        log_scales.exp(),
        opacity_logits.sigmoid(),
        torch.cat([sh_dc, sh_rest[:, : bands - 1]], dim=1),
    )


def mean_error(a: Tensor, b: Tensor, *, squared: bool) -> Tensor:
    """Mean absolute or squared difference, a scalar; see `fused_fields.mean_error`."""
    return (a - b).square().mean() if squared else (a - b).abs().mean()


def mix_bases(bases: Tensor, weights: Tensor) -> Tensor:
    """Sums "N C" of `bases` "N K C" times `weights` "K C"; see `fused_fields.mix_bases`."""
    return (bases.to(weights) * weights).sum(1)


def add_bases(
    columns: Sequence[Tensor],
    bases: Tensor,
    weights: Tensor,
    others: Tensor | None = None,
    share: Tensor | None = None,
    *,
    mix: Callable[[Tensor, Tensor], Tensor] = mix_bases,
) -> list[Tensor]:
    """The columns with what the bases add to them; see `fused_fields.add_bases`."""
    sums = mix(bases, weights)
    if share is not None:
        sums = torch.lerp(sums, mix(bases, others), share.detach()[:, None])
    parts = sums.split([c.shape[1:].numel() for c in columns], dim=1)
    return [c + part.reshape(c.shape) for c, part in zip(columns, parts, strict=True)]


def skin(
    points: Tensor,
    shifts: Tensor,
    weights: Tensor,
    quats: Tensor,
    bones: Tensor,
    turns: Tensor,
    canonical: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Posed places "N 3" and quaternions "N 4"; see `fused_fields.skin`."""
    if canonical is not None:
        still = torch.einsum("nj,jrc->nrc", weights, canonical)
        points = torch.linalg.solve(still[..., :3], points - still[..., 3])
    motions = torch.einsum("nj,jrc->nrc", weights, bones)
    means = torch.einsum("nrc,nc->nr", motions[..., :3], points + shifts) + motions[..., 3]
    aw, ax, ay, az = F.normalize(weights @ turns, dim=1).unbind(1)
    bw, bx, by, bz = quats.unbind(1)
    product = [
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    ]
    return means, torch.stack(product, 1)


def carry(means: Tensor, quats: Tensor, logits: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
    """Places "N 3" and quaternions "N 4" after a motion; see `fused_fields.carry`."""
    weight, (w, x, y, z) = logits.sigmoid(), motion[12:].unbind()
    matrix, shift = motion[:12].reshape(3, 4).split([3, 1], dim=1)
    product = torch.stack([w, -x, -y, -z, x, w, -z, y, y, z, w, -x, z, -y, x, w]).reshape(4, 4)
    way, turn = means @ matrix.T + shift[:, 0] - means, quats @ product.T - quats
    return means + weight * way, quats + weight * turn


def turn_copies(points: Tensor, quats: Tensor) -> Tensor:
    """Places "T N 3" of copies of points "N 3"; see `fused_fields.turn_copies`."""
    w, axis = F.normalize(quats, dim=-1).transpose(0, 1).split([1, 3], dim=-1)
    points = points.expand_as(axis)
    across = 2 * torch.linalg.cross(axis, points)
    return points + w * across + torch.linalg.cross(axis, across)


def ssim(a: Tensor, b: Tensor, *, padding: str = "same") -> Tensor:
    """Mean SSIM, a scalar; see `fused_fields.ssim`."""
    height, width = a.shape[-2:]
    a, b = a.reshape(-1, 1, height, width), b.reshape(-1, 1, height, width)
    steps = torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float64)
    weights = torch.softmax(-(steps**2) / (2 * SIGMA**2), dim=0)
    window = torch.outer(weights, weights)[None, None].to(a)

    def mean(x: Tensor) -> Tensor:
        return F.conv2d(x, window, padding=padding)

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    structure = (2 * covariance + C2) / (var_a + var_b + C2)
    return (luminance * structure).mean()


def adam_step(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    exp_avg_sqs: Sequence[Tensor],
    rows: Tensor | None,
    rates: Sequence[float],
    spreads: Sequence[float],
    betas: Sequence[float],
    eps: float,
) -> None:
    """In place; rates are lr / (1 - beta1^step), spreads 1 / sqrt(1 - beta2^step)."""
    chosen = slice(None) if rows is None else rows.nonzero()[:, 0]
    table = zip(params, grads, exp_avgs, exp_avg_sqs, rates, spreads, strict=True)
    for param, grad, exp_avg, exp_avg_sq, rate, spread in table:
        found = grad if rows is None else grad[chosen]
        mean = betas[0] * exp_avg[chosen] + (1 - betas[0]) * found
        square = betas[1] * exp_avg_sq[chosen] + (1 - betas[1]) * found**2
        exp_avg[chosen], exp_avg_sq[chosen] = mean, square
        param[chosen] -= rate * mean / (square.sqrt() * spread + eps)


def sphere_step(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    rate: float,
    spread: float,
    betas: Sequence[float],
    eps: float,
) -> None:
    """In place; `rate` and `spread` as of `adam_step`."""
    grad = across(param, grad)
    exp_avg.lerp_(grad, 1 - betas[0])
    exp_avg_sq.lerp_(grad.square().sum(-1, keepdim=True).expand_as(grad), 1 - betas[1])
    moved = param - rate * exp_avg / (exp_avg_sq.sqrt() * spread + eps)
    param.copy_(moved / moved.norm(dim=-1, keepdim=True))
    exp_avg.copy_(across(param, exp_avg))


def across(unit: Tensor, vector: Tensor) -> Tensor:
    """What is left of a vector "... D" across a unit vector "... D"."""
    return vector - (unit * vector).sum(-1, keepdim=True) * unit
