"""The slow twin: the same contract in plain PyTorch, every Gaussian against every pixel, autograd.

Tests hold the native kernels against it; the package draws with it when nothing native was built.
Sources: EWA splatting (Zwicker et al. 2001), 3D Gaussian splatting (Kerbl et al. 2023, sec. 4 to
6).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

DILATION = 0.3  # square pixels
MAX_ALPHA = 0.99
MIN_ALPHA = 1 / 255
MIN_TRANSMITTANCE = 1e-4
FRUSTUM = 1.3  # the Jacobian's slopes stay within this many half frusta
_PIXELS_AT_ONCE = 1 << 14


def forward(
    means: Tensor,
    quats: Tensor | None,
    scales: Tensor | None,
    covariances: Tensor | None,
    opacities: Tensor,
    sh: Tensor | None,
    colors: Tensor | None,
    means2d: Tensor | None,
    means2d_abs: Tensor | None,
    viewmat: Tensor,
    background: Tensor | None,
    K: Tensor,
    width: int,
    height: int,
    sh_degree: int,
    near: float,
    far: float,
    antialiased: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns color "C H W", depth "1 H W", alpha "1 H W", radii "N" int32; see `rasterize`."""
    finite = torch.isfinite(viewmat).all() and torch.isfinite(K).all()
    if not (finite and K[0, 0] > 0 and K[1, 1] > 0):
        raise ValueError("viewmat and K must be finite, with K[0, 0] > 0 and K[1, 1] > 0")
    n = len(means)
    opacities = opacities.reshape(n)
    channels = 3 if colors is None else colors.shape[1]
    with torch.no_grad():
        rows = _usable(means, quats, scales, covariances, opacities, viewmat, near, far)

    def pick(x: Tensor | None) -> Tensor | None:
        return None if x is None else x[rows]

    means, opacities, holder = means[rows], opacities[rows], pick(means2d)
    uv, jacobian, z = _project(means, viewmat, K, width, height)
    if holder is not None:
        uv = uv + holder[:, :2] * uv.new_tensor([width / 2, height / 2])
    cov = _world_covariance(pick(quats), pick(scales), pick(covariances))
    bare = jacobian @ cov @ jacobian.mT
    cov2d = bare + DILATION * torch.eye(2, dtype=cov.dtype)
    if antialiased:
        opacities = opacities * _compensation(bare, cov2d)
    camera = -viewmat[:3, :3].T @ viewmat[:3, 3]
    features = pick(colors) if sh is None else sh_colors(pick(sh), means, camera, sh_degree)
    with torch.no_grad():
        reach, wide = _extent(cov2d, opacities)
        size = uv.new_tensor([width, height])
        seen = ((uv + reach > 0) & (uv - reach < size)).all(1) & (opacities >= MIN_ALPHA)
        for x in (reach, uv, features):
            seen &= torch.isfinite(x).all(1)
        order = torch.nonzero(seen)[:, 0][torch.argsort(z[seen], stable=True)]
    splats = (x[order] for x in (uv, cov2d, z, opacities, features))
    absolute = None if means2d_abs is None else pick(means2d_abs)[order, :2] * (size / 2)
    image, drawn = _blend(*splats, width, height, absolute)
    radii = torch.zeros(n, dtype=torch.int32, device=means.device)
    radii[rows[order[drawn]]] = wide[order[drawn]].ceil().clamp(max=1e9).to(torch.int32)
    color, depth, alpha = image[:channels], image[channels : channels + 1], image[channels + 1 :]
    if background is not None:
        color = color + (1 - alpha) * background[:, None, None]
    return color, depth, alpha, radii


def rotation(quats: Tensor) -> Tensor:
    """Rotation matrices "N 3 3" of quaternions "N 4" wxyz, normalised first."""
    return rotation_formula(quats / quats.norm(dim=1, keepdim=True))


def rotation_formula(quats: Tensor) -> Tensor:
    """Matrices "N 3 3": those of the rotations where quaternions "N 4" wxyz have length 1."""
    w, x, y, z = quats.unbind(1)
    rows = [
        *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    ]
    return torch.stack(rows, 1).reshape(-1, 3, 3)


def sh_colors(sh: Tensor, means: Tensor, camera: Tensor, degree: int) -> Tensor:
    """Colours "N 3" of sh "N B 3" seen from `camera` "3": max(0, 1/2 + Σ basis · coefficient)."""
    direction = torch.nn.functional.normalize(means - camera, dim=1)
    basis = _sh_basis(direction, degree)
    return (0.5 + torch.einsum("nb,nbc->nc", basis, sh[:, : basis.shape[1]])).clamp_min(0)


def _usable(
    means, quats, scales, covariances, opacities, viewmat, near: float, far: float
) -> Tensor:
    """Indices of rows with finite numbers, a rotation, and near < z < far."""
    z = means @ viewmat[2, :3] + viewmat[2, 3]
    good = (z > near) & (z < far) & torch.isfinite(means).all(1) & torch.isfinite(opacities)
    for x in (quats, scales, covariances):
        if x is not None:
            good &= torch.isfinite(x).all(1)
    if quats is not None:
        good &= quats.norm(dim=1) > 0
    return torch.nonzero(good)[:, 0]


def _project(means, viewmat, K, width: int, height: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels "N 2", Jacobians of the pixel to the world point "N 2 3", depths "N"."""
    W = viewmat[:3, :3]
    p = means @ W.T + viewmat[:3, 3]
    z = p[:, 2]
    slope = p[:, :2] / z[:, None]
    focal, center = K.diagonal()[:2], K[:2, 2]
    size = means.new_tensor([width, height])
    extra = (FRUSTUM - 1) * size / (2 * focal)
    lowest, highest = -center / focal - extra, (size - center) / focal + extra
    bounded = torch.maximum(torch.minimum(slope, highest), lowest)
    jacobian = (focal / z[:, None])[..., None] * (W[:2] - bounded[..., None] * W[2])
    return slope * focal + center, jacobian, z


def _world_covariance(quats, scales, covariances) -> Tensor:
    if covariances is not None:
        return covariances[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)
    factor = rotation(quats) * scales[:, None]
    return factor @ factor.mT


def _compensation(bare: Tensor, cov2d: Tensor) -> Tensor:
    """sqrt(det bare / det cov2d) "N" of covariances "N 2 2" before and after the dilation.

    0 without a gradient where `bare` has no area: the root's is infinite there, but opacities
    that small are not drawn.
    """
    share = _determinant(bare) / _determinant(cov2d)
    return torch.where(share > 0, torch.where(share > 0, share, 1).sqrt(), 0)


def _determinant(cov2d: Tensor) -> Tensor:
    return cov2d[:, 0, 0] * cov2d[:, 1, 1] - cov2d[:, 0, 1] ** 2


def _extent(cov2d: Tensor, opacities: Tensor) -> tuple[Tensor, Tensor]:
    """Half widths "N 2" of the ellipse alpha >= 1/255, and the 3DGS radius "N"."""
    square = 2 * torch.log(opacities / MIN_ALPHA).clamp_min(0)
    variances = cov2d.diagonal(dim1=1, dim2=2)
    mid = variances.mean(1)
    wide = 3 * (mid + (mid**2 - torch.linalg.det(cov2d)).clamp_min(0.1).sqrt()).sqrt()
    return (square[:, None] * variances).sqrt(), wide


class _EachPixelsOwn(torch.autograd.Function):
    """Copies "N H W" of x "N 1 1", one a pixel; `holder` "N" gets the sum of the absolute values of
    their gradients, where x gets their sum."""

    @staticmethod
    def forward(ctx, x: Tensor, holder: Tensor, height: int, width: int) -> Tensor:
        return x.expand(-1, height, width).clone()

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        return grad.sum((1, 2), keepdim=True), grad.abs().sum((1, 2)), None, None


def _blend(
    uv, cov2d, z, opacities, features, width: int, height: int, absolute: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Image "C+2 H W" (colour, depth, alpha) of splats sorted by depth, and which were drawn "N".

    absolute: a holder "N 2" for the sums of the absolute gradients to uv, or None.
    """
    det = _determinant(cov2d)
    a, b, c = cov2d[:, 1, 1] / det, -cov2d[:, 0, 1] / det, cov2d[:, 0, 0] / det
    values = torch.cat([features, z[:, None], torch.ones_like(z)[:, None]], 1)
    x, y = (torch.arange(n, dtype=uv.dtype, device=uv.device) + 0.5 for n in (width, height))
    rows_at_once = max(1, _PIXELS_AT_ONCE // width)
    bands, drawn = [], torch.zeros(len(uv), dtype=torch.bool, device=uv.device)
    a, b, c, u, v, opacities = (t[:, None, None] for t in (a, b, c, *uv.unbind(1), opacities))
    for band in y.split(rows_at_once):
        at_u, at_v = u, v
        if absolute is not None:
            at_u, at_v = (
                _EachPixelsOwn.apply(place, holder, len(band), width)
                for place, holder in zip((u, v), absolute.unbind(1), strict=True)
            )
        dx, dy = x - at_u, band[:, None] - at_v
        power = -0.5 * (a * dx**2 + c * dy**2) - b * dx * dy
        alpha = (opacities * torch.exp(power)).clamp_max(MAX_ALPHA)
        reached = alpha >= MIN_ALPHA
        alpha = torch.where(reached, alpha, 0)
        after = torch.cumprod(1 - alpha, 0)
        # The product only falls, so all behind the Gaussian that closes a pixel is dropped, too.
        open_ = after >= MIN_TRANSMITTANCE
        before = torch.cat([torch.ones_like(after[:1]), after[:-1]]) if len(after) else after
        weights = torch.where(open_, alpha * before, 0)
        drawn |= reached.any(2).any(1)
        bands.append(torch.einsum("nhw,nc->chw", weights, values))
    return torch.cat(bands, 1), drawn


def _sh_basis(direction: Tensor, degree: int) -> Tensor:
    """Real spherical harmonics "N (degree+1)²" from associated Legendre recurrences.

    The order within a degree is m = -l .. l, with the Condon-Shortley sign, as 3DGS files have it.
    """
    x, y, z = direction.unbind(1)
    # (x + i y)^m holds cos(m phi) and sin(m phi) times sin(theta)^m.
    powers = [(torch.ones_like(x), torch.zeros_like(x))]
    for _ in range(degree):
        re, im = powers[-1]
        powers.append((re * x - im * y, re * y + im * x))
    legendre = {}
    for m in range(degree + 1):
        legendre[m, m] = torch.full_like(z, (-1) ** m * math.prod(range(1, 2 * m, 2)))
        for n in range(m + 1, degree + 1):
            below = legendre.get((n - 2, m), torch.zeros_like(z))
            legendre[n, m] = ((2 * n - 1) * z * legendre[n - 1, m] - (n + m - 1) * below) / (n - m)
    columns = []
    for n in range(degree + 1):
        for m in range(-n, n + 1):
            k = abs(m)
            square = (2 * n + 1) / (4 * math.pi) * math.factorial(n - k) / math.factorial(n + k)
            scale = math.sqrt(2 * square if k else square)
            columns.append(scale * legendre[n, k] * powers[k][1 if m < 0 else 0])
    return torch.stack(columns, 1)
