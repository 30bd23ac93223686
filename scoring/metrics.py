"""Image scores: PSNR, foreground PSNR, SSIM, MS-SSIM and D-SSIM, in plain PyTorch.

Images are (..., C, H, W) in [0, 1] and scores are (...,): one number per image, never pooled over
images. Everything follows the inputs' device and dtype.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FOREGROUND_BELOW = 0.98  # a pixel is background where every ground-truth channel reaches this
WINDOW = 11  # pixels; Wang et al. 2004, section III.B
SIGMA = 1.5  # pixels; ditto
C1, C2 = 0.01**2, 0.03**2  # ditto, for a data range of 1
# Wang, Simoncelli, Bovik 2003, "Multiscale structural similarity", section 3.2, finest scale first.
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# The window must fit into the coarsest of the five scales.
MS_SSIM_MIN_SIDE = (WINDOW - 1) * 2 ** (len(MS_SSIM_WEIGHTS) - 1) + 1


def psnr(image: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of (..., C, H, W) images, (...,).

    The squared error is pooled over pixels and channels of each image, then turned into dB;
    equal images give infinity.
    """
    _check_pair(image, truth)
    return -10.0 * torch.log10((image - truth).square().mean(dim=(-3, -2, -1)))


def fg_psnr(image: Tensor, truth: Tensor) -> Tensor:
    """PSNR in dB over the pixels where any ground-truth channel is below 0.98, (...,).

    A white background flatters small objects; this leaves it out. NaN where an image has no such
    pixel. Splats drawn outside the object are not seen by this score: read it beside `psnr`.
    """
    _check_pair(image, truth)
    foreground = (truth < FOREGROUND_BELOW).any(dim=-3, keepdim=True)
    error = ((image - truth).square() * foreground).sum(dim=(-3, -2, -1))
    return -10.0 * torch.log10(error / (foreground.sum(dim=(-3, -2, -1)) * truth.shape[-3]))


def ssim(image: Tensor, truth: Tensor, *, padding: str = "same") -> Tensor:
    """Structural similarity (Wang et al. 2004, eq. 13), mean over map and channels, (...,).

    `padding="same"` pads with zeros and averages over every pixel, as the 3DGS family does;
    `"valid"` averages only where the whole window lies inside, as scikit-image and pytorch-msssim
    do (torchmetrics mirrors the border), and raises ValueError for a side under 11 pixels.
    """
    _check_pair(image, truth)
    similarity, _ = _ssim_maps(image, truth, padding)
    return similarity.mean(dim=(-3, -2, -1))


def ms_ssim(image: Tensor, truth: Tensor) -> Tensor:
    """Multi-scale SSIM over five scales, product per channel, mean over channels, (...,).

    Raises ValueError where a side is under `MS_SSIM_MIN_SIDE` (161) pixels. Odd sides are padded
    with one zero row before halving, and negative terms count as zero, as in pytorch-msssim.
    """
    _check_pair(image, truth)
    height, width = image.shape[-2:]
    if min(height, width) < MS_SSIM_MIN_SIDE:
        raise ValueError(
            f"MS-SSIM needs sides of at least {MS_SSIM_MIN_SIDE} pixels, got {width}x{height}"
        )
    score = torch.ones_like(image[..., 0, 0])
    for scale, weight in enumerate(MS_SSIM_WEIGHTS):
        coarsest = scale == len(MS_SSIM_WEIGHTS) - 1
        similarity, contrast = _ssim_maps(image, truth, "valid")
        term = similarity if coarsest else contrast
        score = score * term.mean(dim=(-2, -1)).clamp_min(0.0) ** weight
        if not coarsest:
            image, truth = _halve(image), _halve(truth)
    return score.mean(dim=-1)


def d_ssim(image: Tensor, truth: Tensor) -> Tensor:
    """Structural dissimilarity (1 - MS-SSIM) / 2 as 4DGS reports it, (...,); raises as
    `ms_ssim`."""
    return (1.0 - ms_ssim(image, truth)) / 2.0


def _ssim_maps(image: Tensor, truth: Tensor, padding: str) -> tuple[Tensor, Tensor]:
    """SSIM and its contrast-structure factor as maps "*B C H' W'"."""
    if padding not in ("same", "valid"):
        raise ValueError(f"padding must be 'same' or 'valid', got {padding!r}")
    if padding == "valid" and min(image.shape[-2:]) < WINDOW:
        raise ValueError(f"valid SSIM needs sides of at least {WINDOW} pixels, got {image.shape}")
    pad = WINDOW // 2 if padding == "same" else 0
    products = torch.stack((image, truth, image * image, truth * truth, image * truth))
    mean_a, mean_b, aa, bb, ab = _blur(products, pad)
    var_a, var_b, covariance = aa - mean_a**2, bb - mean_b**2, ab - mean_a * mean_b
    contrast = (2 * covariance + C2) / (var_a + var_b + C2)
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return luminance * contrast, contrast


def _blur(maps: Tensor, pad: int) -> Tensor:
    """The Gaussian window on every map of "... H W"; two passes, as the window is separable."""
    offsets = torch.arange(WINDOW, device=maps.device, dtype=maps.dtype) - WINDOW // 2
    window = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    window = window / window.sum()
    # One group per map: on a CPU this is far faster than single-channel images in a batch.
    flat = maps.reshape(1, -1, *maps.shape[-2:])
    groups = flat.shape[1]
    rows = window.view(1, 1, 1, WINDOW).repeat(groups, 1, 1, 1)
    flat = F.conv2d(flat, rows, padding=(0, pad), groups=groups)
    flat = F.conv2d(flat, rows.transpose(2, 3), padding=(pad, 0), groups=groups)
    return flat.reshape(*maps.shape[:-2], *flat.shape[-2:])


def _halve(image: Tensor) -> Tensor:
    """2x2 mean of (..., C, H, W)."""
    flat = image.reshape(-1, *image.shape[-3:])
    halved = F.avg_pool2d(flat, 2, padding=(image.shape[-2] % 2, image.shape[-1] % 2))
    return halved.reshape(*image.shape[:-2], *halved.shape[-2:])


def _check_pair(image: Tensor, truth: Tensor) -> None:
    if image.shape != truth.shape or image.ndim < 3:
        raise ValueError(
            "a score needs two images of one shape '*B C H W', "
            f"got {tuple(image.shape)} and {tuple(truth.shape)}"
        )
    if not (image.is_floating_point() and truth.is_floating_point()):
        raise ValueError(f"a score needs floats in [0, 1], got {image.dtype} and {truth.dtype}")
