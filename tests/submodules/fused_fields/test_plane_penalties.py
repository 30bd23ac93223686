"""Plane regularisers: kernels against the PyTorch twin and their own definition."""

import pytest
import torch
from fused_fields import add_plane_penalties, penalties, reference

SHAPES = ((9, 7, 32), (25, 64, 32), (3, 3, 32), (2, 5, 32), (6, 2, 32), (1, 1, 32), (4, 5, 32))
EACH = torch.eye(3).tolist()  # weights of one term alone


def make_planes(channels=32, dtype=torch.float32):
    random = torch.Generator().manual_seed(0)
    return [
        torch.randn(rows, cols, channels, generator=random, dtype=dtype) + 1
        for rows, cols, _ in SHAPES
    ]


def make_weights(planes):
    random = torch.Generator().manual_seed(1)
    return torch.rand(len(planes), 3, generator=random, dtype=torch.float64).tolist()


def value_and_gradients(add, planes, before=0.0):
    """Of a weighted sum whose gradient is added to `before`."""
    grads = [torch.full_like(plane, before) for plane in planes]
    return [add(planes, grads, make_weights(planes)), *grads]


def truth(planes, before=0.0):
    """The same by autograd in float64, as the planes' type."""
    wide = [plane.double().requires_grad_() for plane in planes]
    weights = [weight for row in make_weights(planes) for weight in row]
    found = reference.plane_penalties(wide, weights)
    grads = torch.autograd.grad(found, wide)
    return [found.detach().to(planes[0]), *((grad + before).to(planes[0]) for grad in grads)]


@pytest.mark.parametrize("channels", [1, 3, 16, 32])
def test_sums_and_gradients_equal_autograds(channels, variant):
    planes = make_planes(channels)
    found = value_and_gradients(add_plane_penalties, planes, before=0.5)
    for a, b in zip(found, truth(planes, before=0.5), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_double_sums_and_gradients_equal_autograds():
    planes = make_planes(dtype=torch.float64)
    found = value_and_gradients(add_plane_penalties, planes)
    for a, b in zip(found, truth(planes), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


def test_the_twin_takes_what_no_kernel_does():
    planes = make_planes(4, torch.bfloat16)
    found, *grads = value_and_gradients(add_plane_penalties, planes)
    expected, *wide = value_and_gradients(add_plane_penalties, [p.double() for p in planes])
    torch.testing.assert_close(found.double(), expected, rtol=0.05, atol=0.05)
    for a, b in zip(grads, wide, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=0.05, atol=0.05)


def test_gradients_equal_finite_differences():
    step, planes = 1e-6, [torch.rand(5, 4, 1, dtype=torch.float64)]
    weights, grads = [[0.3, 0.7, 0.2]], [torch.zeros_like(planes[0])]
    add_plane_penalties(planes, grads, weights)
    for place in range(planes[0].numel()):
        sums = []
        for way in (step, -step):
            moved = planes[0].clone()
            moved.view(-1)[place] += way
            sums.append(add_plane_penalties([moved], [torch.zeros_like(moved)], weights))
        slope = (sums[0] - sums[1]) / (2 * step)
        torch.testing.assert_close(grads[0].view(-1)[place], slope, rtol=1e-6, atol=1e-8)


def test_bits_do_not_depend_on_threads(thread_counts):
    planes = make_planes()
    runs = []
    for threads in thread_counts:
        torch.set_num_threads(threads)
        runs.append(value_and_gradients(add_plane_penalties, planes))
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], run, strict=True))


def terms(plane):
    """Rows, cols and ones of a plane."""
    return [float(add_plane_penalties([plane], [torch.zeros_like(plane)], [row])) for row in EACH]


def test_linear_planes_cost_nothing_and_fresh_time_planes_neither():
    ramp = torch.arange(6.0)[:, None, None] + 2 * torch.arange(5.0)[None, :, None] + torch.zeros(4)
    rows, cols, ones = terms(ramp)
    assert rows == pytest.approx(0, abs=1e-6)
    assert cols == pytest.approx(0, abs=1e-6)
    assert ones > 0
    assert terms(torch.ones(6, 5, 4)) == [0, 0, 0]


@pytest.mark.parametrize("level", [1.0, 0.3])
def test_flat_planes_get_a_gradient_of_exactly_zero(level, variant):
    """Adam makes a whole step of whatever rounding leaves."""
    planes = [torch.full_like(plane, level) for plane in make_planes()]
    grads = [torch.zeros_like(plane) for plane in planes]
    add_plane_penalties(planes, grads, [[0.3, 0.7, 0.0]] * len(planes))
    assert not any(grad.any() for grad in grads)


def test_rows_and_cols_are_the_axes_of_the_tensor():
    plane = make_planes()[0]
    rows, cols, _ = terms(plane)
    second = plane[2:] - 2 * plane[1:-1] + plane[:-2]
    assert rows == pytest.approx(float(second.square().mean()), rel=1e-5)
    assert terms(plane.transpose(0, 1).contiguous())[:2] == pytest.approx([cols, rows], rel=1e-5)


def test_autograd_notices_that_a_gradient_it_kept_was_changed():
    plane = make_planes()[0]
    grad = torch.zeros_like(plane, requires_grad=True).clone()
    kept = grad.square().sum()
    add_plane_penalties([plane], [grad], EACH[:1])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        kept.backward()


@pytest.mark.long
def test_operator_keeps_the_rules_of_torch_library():
    planes = make_planes(4)
    weights = [weight for row in make_weights(planes) for weight in row]
    grads = [torch.zeros_like(plane) for plane in planes]
    torch.library.opcheck(penalties._penalties.overload, (planes, grads, weights))


def test_wrong_arguments_are_refused_by_name():
    plane, flat = torch.ones(3, 4, 2), torch.ones(3, 4)
    with pytest.raises(ValueError, match=r"planes\[1\] has shape \(3, 4\)"):
        add_plane_penalties([plane, flat], [plane, flat], EACH[:2])
    with pytest.raises(ValueError, match="planes is empty"):
        add_plane_penalties([], [], [])
    with pytest.raises(ValueError, match="1 planes, 1 grads and 2 weights"):
        add_plane_penalties([plane], [plane], EACH[:2])
    with pytest.raises(ValueError, match=r"grads\[0\] has shape \(4, 3, 2\)"):
        add_plane_penalties([plane], [torch.ones(4, 3, 2)], EACH[:1])
    with pytest.raises(ValueError, match=r"grads\[0\] has shape .* contiguous"):
        add_plane_penalties([plane], [torch.ones(4, 3, 2).transpose(0, 1)], EACH[:1])
    with pytest.raises(TypeError, match=r"planes\[1\] is torch.float64"):
        add_plane_penalties([plane, plane.double()], [plane, plane.double()], EACH[:2])
    with pytest.raises(TypeError, match=r"grads\[0\] is torch.float64"):
        add_plane_penalties([plane], [plane.double()], EACH[:1])
