"""Plane regularisers: kernels against the PyTorch twin and their own definition."""

import pytest
import torch
from fused_fields import penalties, plane_penalties, reference

SHAPES = ((9, 7, 32), (25, 64, 32), (3, 3, 32), (2, 5, 32), (6, 2, 32), (1, 1, 32), (4, 5, 32))


def make_planes(channels=32, dtype=torch.float32):
    random = torch.Generator().manual_seed(0)
    return [
        (torch.randn(rows, cols, channels, generator=random, dtype=dtype) + 1).requires_grad_()
        for rows, cols, _ in SHAPES
    ]


def values_and_gradients(penalize, planes):
    terms = torch.stack(list(penalize(planes)))
    random = torch.Generator().manual_seed(1)
    upstream = torch.rand(terms.shape, generator=random, dtype=torch.float64).to(terms)
    return [terms.detach(), *torch.autograd.grad(terms, planes, upstream)]


@pytest.mark.parametrize("channels", [1, 3, 16, 32])
def test_penalties_and_gradients_equal_the_twins(channels, variant):
    planes = make_planes(channels)
    found = values_and_gradients(plane_penalties, planes)
    expected = values_and_gradients(reference.plane_penalties, planes)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_gradients_equal_finite_differences():
    random = torch.Generator().manual_seed(0)
    planes = [
        torch.rand(rows, cols, 2, generator=random, dtype=torch.float64).requires_grad_()
        for rows, cols in ((5, 6), (3, 7), (2, 4))
    ]
    assert torch.autograd.gradcheck(lambda *planes: plane_penalties(planes), planes)


def test_bits_do_not_depend_on_threads(thread_counts):
    planes = make_planes()
    runs = []
    for threads in thread_counts:
        torch.set_num_threads(threads)
        runs.append(values_and_gradients(plane_penalties, planes))
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], run, strict=True))


def test_linear_planes_cost_nothing_and_fresh_time_planes_neither():
    ramp = torch.arange(6.0)[:, None, None] + 2 * torch.arange(5.0)[None, :, None] + torch.zeros(4)
    found = plane_penalties([ramp, torch.ones(6, 5, 4)])
    torch.testing.assert_close(found.rows, torch.zeros(2))
    torch.testing.assert_close(found.cols, torch.zeros(2))
    assert found.ones[1] == 0
    assert found.ones[0] > 0


def test_rows_and_cols_are_the_axes_of_the_tensor():
    planes = make_planes()[:1]
    found = plane_penalties(planes)
    second = planes[0][2:] - 2 * planes[0][1:-1] + planes[0][:-2]
    torch.testing.assert_close(found.rows[0], second.square().mean())
    swapped = plane_penalties([planes[0].transpose(0, 1)])
    torch.testing.assert_close(found.rows, swapped.cols)


@pytest.mark.long
def test_operator_keeps_the_rules_of_torch_library():
    torch.library.opcheck(penalties._penalties, (make_planes(4),))


def test_wrong_planes_are_refused_by_argument():
    with pytest.raises(ValueError, match=r"planes\[1\] has shape \(3, 4\)"):
        plane_penalties([torch.ones(3, 4, 2), torch.ones(3, 4)])
    with pytest.raises(ValueError, match="planes is empty"):
        plane_penalties([])
    with pytest.raises(TypeError, match=r"planes\[1\] is torch.float64"):
        plane_penalties([torch.ones(3, 4, 2), torch.ones(3, 4, 2, dtype=torch.float64)])
