"""Pictures of bytes: the kernel against its twin in plain PyTorch, and against whole numbers."""

import pytest
import torch
from fused_fields import composite, pictures, reference

SIZES = [(1, 1), (3, 5), (16, 16), (130, 257)]  # the last is more than a task


def bytes_of(height, width, channels):
    draw = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (height, width, channels), generator=draw, dtype=torch.uint8)


def background(kind, height, width, dtype=torch.float32):
    draw = torch.Generator().manual_seed(1)
    return torch.rand((3,) if kind == "plain" else (3, height, width), generator=draw).to(dtype)


@pytest.mark.parametrize("kind", ["plain", "plate"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pictures_equal_the_twins(variant, kind, channels, dtype):
    for height, width in SIZES:
        pixels, behind = bytes_of(height, width, channels), background(kind, height, width, dtype)
        found, truth = composite(pixels, behind), reference.composite(pixels, behind)
        for mine, true in zip(found, truth, strict=True):
            assert mine.dtype == dtype
            torch.testing.assert_close(mine, true, rtol=0, atol=1e-7)


def test_what_covers_is_the_picture_and_what_does_not_the_background(variant):
    pixels, behind = bytes_of(9, 20, 4), background("plate", 9, 20)
    pixels[..., 3] = torch.tensor([0, 255]).repeat(10).to(torch.uint8)
    image, alpha = composite(pixels, behind)
    assert torch.equal(image[..., ::2], behind[..., ::2])
    assert torch.equal(image[..., 1::2], pixels[..., 1::2, :3].permute(2, 0, 1) / 255)
    assert torch.equal(alpha[0], (pixels[..., 3] > 0).float())


def test_no_alpha_is_full_cover(variant):
    image, alpha = composite(bytes_of(4, 6, 3), torch.full((3,), torch.nan))
    assert torch.equal(image, bytes_of(4, 6, 3).permute(2, 0, 1) / 255)
    assert torch.equal(alpha, torch.ones(1, 4, 6))


def test_bits_do_not_depend_on_threads(thread_counts):
    pixels, behind = bytes_of(200, 300, 4), background("plain", 200, 300)
    runs = []
    for threads in thread_counts:
        torch.set_num_threads(threads)
        runs.append(composite(pixels, behind))
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], run, strict=True))


@pytest.mark.long
def test_operator_keeps_the_rules_of_torch_library():
    torch.library.opcheck(pictures._composite.overload, (bytes_of(4, 5, 4), torch.rand(3)))


def test_wrong_arguments_are_refused_by_name():
    with pytest.raises(TypeError, match=r"pixels is torch\.float32"):
        composite(torch.rand(2, 2, 4), torch.rand(3))
    with pytest.raises(ValueError, match=r"pixels has shape \(2, 2, 5\)"):
        composite(bytes_of(2, 2, 5), torch.rand(3))
    with pytest.raises(ValueError, match=r"background has shape \(3, 2, 3\); expected \(3,\) or"):
        composite(bytes_of(2, 2, 4), torch.rand(3, 2, 3))
