"""Rows of length one: the kernel against its twin in double, and finite differences."""

import pytest
import torch
from fused_fields import reference, unit_rows


def rows(count, width, dtype=torch.float32):
    source = torch.Generator().manual_seed(0)
    return torch.randn(count, width, generator=source, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("width", [2, 3, 4])
@pytest.mark.parametrize("count", [0, 1, 300])
def test_values_and_gradients_equal_the_twins_in_double(variant, count, width, shifted):
    mine = rows(count, width).requires_grad_()
    true = mine.detach().double().requires_grad_()
    origin = torch.linspace(-1, 2, width) if shifted else None
    found = unit_rows(mine, origin)
    truth = reference.unit_rows(true, None if origin is None else origin.double())
    torch.testing.assert_close(found.double(), truth, rtol=0, atol=3e-7)
    upstream = torch.randn(count, width, generator=torch.Generator().manual_seed(1))
    (of_mine,) = torch.autograd.grad(found, mine, upstream)
    (of_true,) = torch.autograd.grad(truth, true, upstream.double())
    assert (of_mine - of_true).norm() <= 1e-6 * of_true.norm()


@pytest.mark.parametrize("width", [2, 3, 4])
def test_gradients_equal_finite_differences(variant, width):
    x = rows(5, width, torch.float64).requires_grad_()
    origin = torch.full((width,), 0.3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: unit_rows(x, origin), (x,))


def test_tiny_rows_and_numbers_that_are_none_do_what_they_do_in_torch(variant):
    x = rows(40, 3)
    x[3], x[4], x[7, 1], x[9, 2] = 0, 1e-20, torch.nan, torch.inf
    mine, true = x.clone().requires_grad_(), x.clone().requires_grad_()
    found, truth = unit_rows(mine), reference.unit_rows(true)
    torch.testing.assert_close(found, truth, equal_nan=True)
    found.sum().backward(), truth.sum().backward()
    torch.testing.assert_close(mine.grad[:9], true.grad[:9], equal_nan=True)
    torch.testing.assert_close(mine.grad[10:], true.grad[10:])


def test_bits_do_not_depend_on_the_number_of_threads(thread_counts):
    x = rows(3000, 4)
    runs = []
    for threads in thread_counts:
        torch.set_num_threads(threads)
        runs.append(unit_rows(x))
    assert all(torch.equal(runs[0], other) for other in runs[1:])


@pytest.mark.long
def test_operator_keeps_the_rules_of_torch():
    x, origin = rows(4, 3).requires_grad_(), torch.ones(3)
    torch.library.opcheck(torch.ops.fused_fields.unit_rows.default, (x, origin))


def test_what_does_not_fit_is_named():
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"rows has shape \(2, 5\); expected"):
        unit_rows(torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"origin has shape \(4,\); expected \(3,\)"):
        unit_rows(x, torch.zeros(4))
    with pytest.raises(TypeError, match="origin requires a gradient"):
        unit_rows(x, torch.zeros(3, requires_grad=True))
    with pytest.raises(TypeError, match=r"origin is torch\.float64 on cpu"):
        unit_rows(x, torch.zeros(3, dtype=torch.float64))
