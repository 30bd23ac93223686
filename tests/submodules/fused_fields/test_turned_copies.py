"""Turned copies of points: kernels, emulated CUDA kernels too, against the PyTorch twin and finite
differences."""

import fused_fields
import pytest
import torch
from fused_fields import reference, turn_copies

from .cuda_backends import BACKENDS, backend


def make_points(count, copies=4, dtype=torch.float32):
    draw = torch.Generator().manual_seed(0)
    shapes = [(count, 3), (count, copies, 4)]
    made = [torch.randn(shape, generator=draw, dtype=dtype) for shape in shapes]
    return [tensor.requires_grad_() for tensor in made]


def values_and_gradients(turn, points, quats, wanted=(True, True)):
    draw = torch.Generator().manual_seed(1)
    turned = turn(points, quats)
    upstream = torch.randn(turned.shape, generator=draw, dtype=torch.float64).to(turned)
    inputs = [x for x, want in zip((points, quats), wanted, strict=True) if want]
    return [turned.detach(), *torch.autograd.grad(turned, inputs, upstream)]


def compare(turn, points, quats):
    """Within rounding of the twin in float64."""
    exact = [x.detach().cpu().double().requires_grad_() for x in (points, quats)]
    bound = 2e-6 if points.dtype == torch.float32 else 1e-14
    found = values_and_gradients(turn, points, quats)
    truth = values_and_gradients(reference.turn_copies, *exact)
    for mine, true in zip(found, truth, strict=True):
        assert (mine.cpu().double() - true).norm() <= bound * true.norm()


@pytest.mark.parametrize("copies", [1, 4, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_equal_the_twins_in_double(variant, dtype, copies):
    for count in (0, 1, 7, 517):
        compare(turn_copies, *make_points(count, copies, dtype))


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cuda_kernels_equal_the_twins_in_double(kind, dtype):
    run = backend(kind)
    for count in (0, 300):
        made = [x.detach().to(run.device).requires_grad_() for x in make_points(count, 3, dtype)]
        compare(run.turn_copies, *made)


@pytest.mark.parametrize("kind", ["cpu", "forward"])
def test_gradients_equal_finite_differences(kind):
    turn = turn_copies if kind == "cpu" else backend(kind).turn_copies
    assert torch.autograd.gradcheck(turn, make_points(5, 3, torch.float64))


@pytest.mark.parametrize("kind", ["cpu", "forward"])
@pytest.mark.parametrize("wanted", [(True, False), (False, True)])
def test_what_learns_nothing_gets_no_gradient(kind, wanted):
    turn = turn_copies if kind == "cpu" else backend(kind).turn_copies
    points, quats = (
        x.requires_grad_(want) for x, want in zip(make_points(40), wanted, strict=True)
    )
    found = values_and_gradients(turn, points, quats, wanted)
    both = values_and_gradients(turn, *make_points(40))
    assert torch.equal(found[1], both[1:][wanted.index(True)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_short_and_bad_quaternions_do_what_they_do_in_torch(variant, dtype):
    points, quats = make_points(9, 1, dtype)
    with torch.no_grad():
        quats[2] = 0
        quats[3] *= 1e-14
        quats[5, 0, 2] = torch.nan
        points[6, 1] = torch.inf
    for turn in (turn_copies, backend("forward").turn_copies):
        found = values_and_gradients(turn, points, quats)
        truth = values_and_gradients(reference.turn_copies, points, quats)
        for mine, true in zip(found, truth, strict=True):
            torch.testing.assert_close(mine, true, equal_nan=True, rtol=1e-4, atol=1e-5)


def test_bits_do_not_depend_on_the_number_of_threads(thread_counts):
    runs = []
    for threads in thread_counts:
        torch.set_num_threads(threads)
        runs.append(values_and_gradients(turn_copies, *make_points(2000)))
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


@pytest.mark.long
def test_operator_keeps_the_rules_of_torch_library():
    torch.library.opcheck(torch.ops.fused_fields.turn_copies.default, make_points(4))


def test_arguments_that_do_not_fit_are_named():
    points, quats = make_points(4)
    with pytest.raises(ValueError, match=r"quats has shape \(3, 4, 4\); expected \(4, copies, 4\)"):
        fused_fields.turn_copies(points, quats[:3])
    with pytest.raises(ValueError, match=r"points has shape \(4, 2\); expected \(N, 3\)"):
        fused_fields.turn_copies(points[:, :2], quats)
    with pytest.raises(TypeError, match="quats is torch"):
        fused_fields.turn_copies(points, quats.double())
