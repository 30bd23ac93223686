"""Scores against scikit-image, torchmetrics and pytorch-msssim, each on its own convention."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from scoring.metrics import d_ssim, fg_psnr, ms_ssim, psnr, ssim

SIZES = [(48, 61), (200, 200), (177, 240)]


def picture_pair(height: int, width: int, noise: float = 0.05) -> tuple[Tensor, Tensor]:
    """A smooth coloured picture with an edge, and a noisy copy: floats on the 8-bit grid."""
    generator = torch.Generator().manual_seed(height * 1000 + width)
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    truth = torch.stack((x, y * x, 0.5 + 0.5 * torch.sin(12 * x + 5 * y)))
    truth = torch.where(x + y > 1.2, torch.ones(()), truth)
    image = (truth + noise * torch.randn(truth.shape, generator=generator)).clamp(0, 1)
    return (image * 255).round() / 255, (truth * 255).round() / 255


def as_numpy(image: Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).double().numpy()


def skimage_ssim(image: Tensor, truth: Tensor) -> float:
    """scikit-image averages away from the border, which is the 'valid' convention."""
    metrics = pytest.importorskip("skimage.metrics")
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(
        metrics.structural_similarity(
            as_numpy(image), as_numpy(truth), data_range=1.0, channel_axis=2, **settings
        )
    )


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_psnr_agrees_with_scikit_image_and_torchmetrics(height, width):
    skimage = pytest.importorskip("skimage.metrics")
    functional = pytest.importorskip("torchmetrics.functional.image")
    image, truth = picture_pair(height, width)
    ours = float(psnr(image, truth))
    theirs = skimage.peak_signal_noise_ratio(as_numpy(truth), as_numpy(image), data_range=1.0)
    assert ours == pytest.approx(theirs, abs=1e-4)
    theirs = functional.peak_signal_noise_ratio(image[None], truth[None], data_range=1.0)
    assert ours == pytest.approx(float(theirs), abs=1e-4)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_valid_ssim_agrees_with_scikit_image_and_pytorch_msssim(height, width):
    library = pytest.importorskip("pytorch_msssim")
    image, truth = picture_pair(height, width)
    ours = float(ssim(image, truth, padding="valid"))
    assert ours == pytest.approx(skimage_ssim(image, truth), abs=1e-4)
    theirs = library.ssim(image[None], truth[None], data_range=1.0)
    assert ours == pytest.approx(float(theirs), abs=1e-4)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_valid_ssim_of_the_mirrored_image_agrees_with_torchmetrics(height, width):
    """torchmetrics mirrors the border and averages over every pixel."""
    functional = pytest.importorskip("torchmetrics.functional.image")
    image, truth = picture_pair(height, width)
    mirror = torch.nn.ReflectionPad2d(5)
    library = functional.structural_similarity_index_measure
    theirs = library(image[None], truth[None], data_range=1.0)
    ours = float(ssim(mirror(image), mirror(truth), padding="valid"))
    assert ours == pytest.approx(float(theirs), abs=1e-4)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_same_ssim_is_valid_ssim_of_the_zero_padded_image(height, width):
    """No library has the family's border, but each has it on an image padded by hand."""
    image, truth = picture_pair(height, width)
    pad = torch.nn.ConstantPad2d(5, 0.0)
    assert float(ssim(image, truth)) == pytest.approx(
        skimage_ssim(pad(image), pad(truth)), abs=1e-4
    )


@pytest.mark.parametrize(("height", "width"), [(200, 200), (177, 240), (161, 161)])
def test_ms_ssim_agrees_with_pytorch_msssim(height, width):
    library = pytest.importorskip("pytorch_msssim")
    image, truth = picture_pair(height, width, noise=0.15)
    theirs = float(library.ms_ssim(image[None], truth[None], data_range=1.0))
    assert float(ms_ssim(image, truth)) == pytest.approx(theirs, abs=1e-4)
    assert float(d_ssim(image, truth)) == pytest.approx((1 - theirs) / 2, abs=1e-4)


def test_ms_ssim_refuses_small_images_with_their_size():
    image, truth = picture_pair(161, 160)
    with pytest.raises(ValueError, match="at least 161 pixels, got 160x161"):
        ms_ssim(image, truth)


def test_equal_images_have_infinite_psnr_and_similarity_one():
    _, truth = picture_pair(200, 200)
    assert float(psnr(truth, truth)) == math.inf
    assert float(ssim(truth, truth)) == pytest.approx(1.0, abs=1e-6)
    assert float(ms_ssim(truth, truth)) == pytest.approx(1.0, abs=1e-6)
    assert float(d_ssim(truth, truth)) == pytest.approx(0.0, abs=1e-6)


def test_foreground_psnr_is_psnr_of_the_masked_pixels():
    image, truth = picture_pair(48, 61)
    mask = (as_numpy(truth) < 0.98).any(axis=2)
    mse = np.square(as_numpy(image)[mask] - as_numpy(truth)[mask]).mean()
    assert float(fg_psnr(image, truth)) == pytest.approx(-10 * math.log10(mse), abs=1e-4)


def test_white_border_raises_psnr_but_not_foreground_psnr():
    image, truth = picture_pair(48, 61)
    pad = torch.nn.ConstantPad2d(20, 1.0)
    assert float(psnr(pad(image), pad(truth))) > float(psnr(image, truth)) + 1.0
    assert float(fg_psnr(pad(image), pad(truth))) == pytest.approx(
        float(fg_psnr(image, truth)), abs=1e-4
    )


def test_foreground_psnr_without_foreground_is_nan():
    white = torch.ones(3, 8, 8)
    assert math.isnan(float(fg_psnr(white * 0.5, white)))


@pytest.mark.parametrize("score", [psnr, fg_psnr, ssim, ms_ssim, d_ssim])
def test_a_batch_gives_each_image_its_own_score(score):
    pairs = [picture_pair(170, 180, noise) for noise in (0.02, 0.2)]
    images, truths = (torch.stack(parts) for parts in zip(*pairs, strict=True))
    alone = [float(score(*pair)) for pair in pairs]
    assert score(images, truths).tolist() == pytest.approx(alone, abs=1e-5)


@pytest.mark.long
def test_ssim_gradient_agrees_with_finite_differences():
    image, truth = (x[:, :12, :14].double() for x in picture_pair(48, 61))
    image.requires_grad_(True)
    for padding in ("same", "valid"):
        assert torch.autograd.gradcheck(
            lambda x, padding=padding: ssim(x, truth, padding=padding), (image,)
        )


def test_shapes_dtypes_and_padding_are_checked():
    image, truth = picture_pair(48, 61)
    with pytest.raises(ValueError, match="two images of one shape"):
        psnr(image, truth[:, :-1])
    with pytest.raises(ValueError, match=r"floats in \[0, 1\]"):
        ssim((image * 255).byte(), (truth * 255).byte())
    with pytest.raises(ValueError, match="'same' or 'valid', got 'reflect'"):
        ssim(image, truth, padding="reflect")
