"""SSIM: kernels against two published libraries, the PyTorch twin and finite differences."""

import numpy as np
import pytest
import torch
from fused_fields import reference, similarity, ssim

SIZES = ((3, 37, 53), (1, 11, 11), (2, 3, 40, 300), (4, 12, 529))


def make_images(shape, dtype=torch.float32):
    random = torch.Generator().manual_seed(0)
    a = torch.rand(shape, generator=random, dtype=dtype)
    b = (a + 0.2 * torch.randn(shape, generator=random, dtype=dtype)).clamp(0, 1)
    return a.requires_grad_(), b.requires_grad_()


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("shape", SIZES)
def test_value_and_gradients_equal_the_twins(shape, padding, variant):
    a, b = make_images(shape)
    found, expected = (f(a, b, padding=padding) for f in (ssim, reference.ssim))
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    # The float32 twin itself is off by about 1e-5 in places: float64 is the truth here.
    exact = [x.detach().double().requires_grad_() for x in (a, b)]
    truth = torch.autograd.grad(reference.ssim(*exact, padding=padding), exact)
    for grad, true in zip(torch.autograd.grad(found, (a, b)), truth, strict=True):
        assert float((grad - true).abs().max() / true.abs().max()) < 1e-5


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_gradients_equal_finite_differences(padding):
    a, b = make_images((1, 12, 13), torch.float64)
    assert torch.autograd.gradcheck(lambda a, b: ssim(a, b, padding=padding), (a, b))


def test_valid_equals_pytorch_msssim():
    from pytorch_msssim import ssim as published

    a, b = make_images((2, 3, 40, 50))
    expected = published(a, b, data_range=1.0)
    assert float(ssim(a, b, padding="valid").detach()) == pytest.approx(
        float(expected.detach()), abs=1e-6
    )


def test_valid_equals_scikit_image():
    from skimage.metrics import structural_similarity

    a, b = make_images((3, 40, 50), torch.float64)
    expected = structural_similarity(
        a.detach().numpy(), b.detach().numpy(), channel_axis=0, data_range=1.0,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    )  # fmt: skip
    assert float(ssim(a, b, padding="valid")) == pytest.approx(expected, abs=1e-9)


def test_equal_images_score_one_with_no_gradient():
    a = torch.rand(3, 30, 30, requires_grad=True)
    value = ssim(a, a.detach())
    assert float(value) == pytest.approx(1, abs=1e-6)
    (grad,) = torch.autograd.grad(value, a)
    assert np.abs(grad.numpy()).max() < 1e-6


def test_bits_do_not_depend_on_threads(thread_counts):
    a, b = make_images((3, 61, 300))
    runs = []
    for threads in thread_counts:
        torch.set_num_threads(threads)
        value = ssim(a, b)
        runs.append([value.detach(), *torch.autograd.grad(value, (a, b))])
    for run in runs[1:]:
        assert all(torch.equal(x, y) for x, y in zip(runs[0], run, strict=True))


def test_only_what_requires_a_gradient_gets_one():
    a, b = make_images((3, 20, 20))
    both = torch.autograd.grad(ssim(a, b), (a, b))
    for mine, other, first in ((a, b, True), (b, a, False)):
        mine.grad = None
        pair = (mine, other.detach()) if first else (other.detach(), mine)
        ssim(*pair).backward()
        assert torch.equal(mine.grad, both[0 if first else 1])


def test_images_need_not_be_contiguous():
    a, b = make_images((3, 20, 30))
    swapped = ssim(a.transpose(1, 2), b.transpose(1, 2))
    assert float(swapped) == pytest.approx(float(ssim(a, b)), abs=1e-6)


@pytest.mark.long
def test_operator_keeps_the_rules_of_torch_library():
    a, b = make_images((1, 12, 12))
    torch.library.opcheck(similarity._ssim.overload, (a, b, 0, True))


def test_wrong_images_are_refused_by_argument():
    a, b = make_images((3, 20, 30))
    with pytest.raises(ValueError, match="a and b have shapes"):
        ssim(a, b[:, :5])
    with pytest.raises(ValueError, match="padding is 'full'"):
        ssim(a, b, padding="full")
    with pytest.raises(ValueError, match="less than one 11 x 11 window"):
        ssim(a[:, :10], b[:, :10], padding="valid")
    with pytest.raises(TypeError, match=r"a is torch\.uint8"):
        ssim(torch.zeros(3, 20, 30, dtype=torch.uint8), b)
