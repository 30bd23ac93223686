"""Rows carried along: kernels, emulated CUDA kernels too, against the PyTorch twin, finite
differences and rotations."""

import pytest
import torch
from fused_fields import carry, reference

from utils.rotations import axis_angle_to_matrices, compose, matrices_to_quats

from .cuda_backends import BACKENDS, backend


def make_inputs(count, dtype=torch.float32):
    draw = torch.Generator().manual_seed(0)
    shapes = [(count, 3), (count, 4), (count, 1), (16,)]
    made = [torch.randn(s, generator=draw, dtype=torch.float64).to(dtype) for s in shapes]
    return [tensor.requires_grad_() for tensor in made]


def values_and_gradients(run, inputs):
    draw = torch.Generator().manual_seed(1)
    found = run(*inputs)
    upstream = [torch.randn(x.shape, generator=draw, dtype=torch.float64).to(x) for x in found]
    return [*(x.detach() for x in found), *torch.autograd.grad(found, inputs, upstream)]


def compare(run, inputs):
    """Within rounding of the twin in float64."""
    exact = [x.detach().cpu().double().requires_grad_() for x in inputs]
    bound = 3e-6 if inputs[0].dtype == torch.float32 else 1e-14
    truth = values_and_gradients(reference.carry, exact)
    for mine, true in zip(values_and_gradients(run, inputs), truth, strict=True):
        assert (mine.cpu().double() - true).norm() <= bound * true.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_equal_the_twins_in_double(variant, dtype):
    for count in (0, 1, 7, 256, 517):
        compare(carry, make_inputs(count, dtype))


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cuda_kernels_equal_the_twins_in_double(kind, dtype):
    run = backend(kind)
    for count in (0, 300):
        made = [x.detach().to(run.device).requires_grad_() for x in make_inputs(count, dtype)]
        compare(run.carry, made)


@pytest.mark.parametrize("kind", ["cpu", "forward"])
def test_gradients_equal_finite_differences(kind):
    run = carry if kind == "cpu" else backend(kind).carry
    assert torch.autograd.gradcheck(run, make_inputs(5, torch.float64))


def test_a_row_of_full_weight_moves_rigidly_and_one_of_none_stays():
    means, quats, _, _ = (x.detach() for x in make_inputs(2, torch.float64))
    rotation = axis_angle_to_matrices(torch.tensor([0.3, -0.4, 0.5], dtype=torch.float64))
    shift = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    turn = matrices_to_quats(rotation)
    motion = torch.cat([torch.cat([rotation, shift[:, None]], 1).flatten(), turn])
    logits = torch.tensor([[100.0], [-100.0]], dtype=torch.float64)
    places, turned = carry(means, quats, logits, motion)
    torch.testing.assert_close(places, torch.stack([rotation @ means[0] + shift, means[1]]))
    torch.testing.assert_close(turned, torch.stack([compose(turn, quats[0]), quats[1]]))


def test_a_number_that_is_none_spoils_its_own_row_and_the_motions_gradient_alone(variant):
    inputs = make_inputs(40)
    whole = values_and_gradients(carry, inputs)
    with torch.no_grad():
        inputs[0][7, 1] = torch.nan
    found = values_and_gradients(carry, inputs)
    others = torch.arange(40) != 7
    for mine, true in zip(found[:-1], whole[:-1], strict=True):
        assert torch.equal(mine[others], true[others])
    assert found[0][7].isnan().any()
    assert found[-1][:12].isnan().any()


def test_bits_do_not_depend_on_the_number_of_threads(thread_counts):
    runs = []
    for threads in thread_counts:
        torch.set_num_threads(threads)
        runs.append(values_and_gradients(carry, make_inputs(2000)))
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


@pytest.mark.long
def test_operator_keeps_the_rules_of_torch_library():
    torch.library.opcheck(torch.ops.fused_fields.carry.default, make_inputs(4))


def test_arguments_that_do_not_fit_are_named():
    means, quats, logits, motion = make_inputs(4)
    with pytest.raises(ValueError, match=r"quats has shape \(3, 4\); expected \(4, 4\)"):
        carry(means, quats[:3], logits, motion)
    with pytest.raises(ValueError, match=r"motion has shape \(12,\); expected \(16,\)"):
        carry(means, quats, logits, motion[:12])
    with pytest.raises(TypeError, match=r"logits is torch\.float64"):
        carry(means, quats, logits.double(), motion)
