"""Offsets of columns: the kernel against its twin in double, finite differences, and the limits."""

import pytest
import torch
from fused_fields import add_offsets, reference

SHAPES = ((1,), (3,), (4,), (1, 3))  # of a row
LIMITS = (0.0, 1.5, 0.25, 3.0)


def columns(count, scale=1.0, dtype=torch.float32):
    source = torch.Generator().manual_seed(count)
    return [
        (scale * torch.randn(count, *shape, generator=source, dtype=torch.float64)).to(dtype)
        for shape in SHAPES
    ]


def learned(tensors, dtype=torch.float32):
    return [tensor.to(dtype, copy=True).requires_grad_() for tensor in tensors]


@pytest.mark.parametrize("scale", [1e-3, 0.3, 1.0, 30.0])
@pytest.mark.parametrize("count", [1, 7, 6000])
def test_values_and_gradients_equal_the_twins_in_double(variant, count, scale):
    raw, offsets = columns(count), columns(count, scale)
    mine, true = (learned(raw + offsets, dtype) for dtype in (torch.float32, torch.float64))
    k = len(SHAPES)
    found = add_offsets(mine[:k], mine[k:], LIMITS)
    truth = reference.add_offsets(true[:k], true[k:], LIMITS)
    upstream = columns(count)
    torch.autograd.backward(found, upstream)
    torch.autograd.backward(truth, [grad.double() for grad in upstream])
    for a, b in zip(found, truth, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=2e-7, atol=5e-7)
    for a, b in zip(mine, true, strict=True):
        # 1 - tanh^2 has no more digits than 1
        torch.testing.assert_close(a.grad.double(), b.grad, rtol=1e-6, atol=3e-6)


@pytest.mark.parametrize("exponent", [-30, -10, -3, -1, 0, 1])
def test_offsets_keep_their_digits_where_they_are_small(variant, exponent):
    x = torch.linspace(1, 9.9, 999) * 10.0**exponent
    x = torch.cat([x, -x])
    (found,) = add_offsets([torch.zeros_like(x)], [x], [2.0])
    truth = 2 * torch.tanh(x.double() / 2)
    torch.testing.assert_close(found.double(), truth, rtol=6e-7, atol=0)


def test_an_offset_of_zero_moves_nothing(variant):
    raw = columns(100)
    still = add_offsets(raw, [torch.zeros_like(x) for x in raw], LIMITS)
    assert all(torch.equal(a, b) for a, b in zip(raw, still, strict=True))


def test_nothing_goes_beyond_its_limit_and_nan_stays_nan(variant):
    x = torch.tensor([1e30, -1e30, torch.inf, -torch.inf, torch.nan])
    (found,) = add_offsets([torch.zeros(5)], [x], [0.5])
    torch.testing.assert_close(
        found, torch.tensor([0.5, -0.5, 0.5, -0.5, torch.nan]), equal_nan=True, rtol=0, atol=0
    )


def test_gradients_equal_finite_differences(variant):
    tensors = learned(columns(3), torch.float64)
    offsets = learned(columns(3, 0.7), torch.float64)

    def moved(*both):
        return tuple(add_offsets(both[:4], both[4:], LIMITS))

    assert torch.autograd.gradcheck(moved, (*tensors, *offsets))


def test_bits_do_not_depend_on_the_number_of_threads(thread_counts):
    raw, offsets = columns(30_000), columns(30_000, 0.5)
    runs = []
    for threads in thread_counts:
        torch.set_num_threads(threads)
        runs.append(add_offsets(raw, offsets, LIMITS))
    assert all(torch.equal(a, b) for other in runs[1:] for a, b in zip(runs[0], other, strict=True))


@pytest.mark.long
def test_operator_keeps_the_rules_of_torch():
    arguments = (learned(columns(4)), learned(columns(4)), list(LIMITS))
    torch.library.opcheck(torch.ops.fused_fields.add_offsets.default, arguments)


def test_nothing_is_moved_to_nothing():
    assert add_offsets([], [], []) == []
    (none,) = add_offsets([torch.zeros(0, 3)], [torch.zeros(0, 3)], [1.0])
    assert none.shape == (0, 3)


def test_what_does_not_fit_is_named():
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="1 columns, 2 offsets and 1 limits"):
        add_offsets([x], [x, x], [0.0])
    with pytest.raises(ValueError, match=r"offsets\[0\] has shape \(2, 4\); expected \(2, 3\)"):
        add_offsets([x], [torch.zeros(2, 4)], [0.0])
    with pytest.raises(ValueError, match=r"limits\[1\] is -1"):
        add_offsets([x, x], [x, x], [0.0, -1.0])
    with pytest.raises(TypeError, match=r"offsets\[0\] is torch\.float64"):
        add_offsets([x], [x.double()], [0.0])
