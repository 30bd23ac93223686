"""Sums of linear bases: kernels against the PyTorch twin in double, and finite differences."""

import pytest
import torch
from fused_fields import bases as module
from fused_fields import mix_bases, reference

# rows, bases, numbers: the shipped table, over two chunks; then awkward sizes
SHAPES = [(1100, 20, 14), (513, 12, 14), (1, 1, 1), (3, 5, 17), (40, 7, 64), (2, 3, 100)]


def random_inputs(shape, dtype=torch.float32):
    """Bases, weights and a cotangent."""
    draw = torch.Generator().manual_seed(0)
    rows, count, width = shape
    bases = torch.randn(shape, generator=draw, dtype=dtype, requires_grad=True)
    weights = torch.randn(count, width, generator=draw, dtype=dtype, requires_grad=True)
    return bases, weights, torch.randn(rows, width, generator=draw, dtype=dtype)


def values_and_grads(function, bases, weights, cotangent):
    sums = function(bases, weights)
    wanted = [tensor for tensor in (bases, weights) if tensor.requires_grad]
    return [sums, *torch.autograd.grad(sums, wanted, cotangent)]


def in_double(*tensors):
    return [t.detach().double().requires_grad_(t.requires_grad) for t in tensors]


@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_match_torch_in_double(variant, shape):
    inputs = random_inputs(shape)
    truth = values_and_grads(reference.mix_bases, *in_double(*inputs))
    for mine, true in zip(values_and_grads(mix_bases, *inputs), truth, strict=True):
        assert (mine - true).norm() <= 2e-6 * true.norm()


@pytest.mark.parametrize("shape", SHAPES[1:])
def test_doubles_match_to_their_own_precision(variant, shape):
    inputs = random_inputs(shape, torch.float64)
    truth = values_and_grads(reference.mix_bases, *inputs)
    for mine, true in zip(values_and_grads(mix_bases, *inputs), truth, strict=True):
        torch.testing.assert_close(mine, true, rtol=1e-12, atol=1e-12)


def test_gradients_match_finite_differences():
    bases, weights, _ = random_inputs((6, 3, 5), torch.float64)
    assert torch.autograd.gradcheck(mix_bases, (bases, weights))


@pytest.mark.parametrize("shape", SHAPES)
def test_float16_bases_are_read_exactly_and_leave_the_gradient_to_the_weights(variant, shape):
    bases, weights, cotangent = random_inputs(shape)
    half = bases.detach().half()
    found = values_and_grads(mix_bases, half, weights, cotangent)
    truth = values_and_grads(reference.mix_bases, *in_double(half, weights, cotangent))
    for mine, true in zip(found, truth, strict=True):
        assert (mine - true).norm() <= 2e-6 * true.norm()


def test_every_finite_float16_is_read_exactly(variant):
    every = torch.arange(-(2**15), 2**15).to(torch.int16).view(torch.float16)
    every = every[every.isfinite()].reshape(-1, 1, 2)
    assert torch.equal(mix_bases(every, torch.ones(1, 2)), every[:, 0].float())


def test_bits_do_not_depend_on_the_number_of_threads(thread_counts):
    inputs, runs = random_inputs((5000, 20, 14)), []
    for threads in thread_counts:
        torch.set_num_threads(threads)
        runs.append(values_and_grads(mix_bases, *inputs))
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_bad_number_stays_in_its_column_of_its_row(variant, bad):
    bases, weights, _ = random_inputs((70, 5, 14))
    with torch.no_grad():
        bases[7, 4, 13] = bad
    wrong = ~mix_bases(bases, weights).isfinite()
    assert wrong.sum() == 1
    assert wrong[7, 13]


def test_no_rows_give_empty_sums_and_zero_gradients():
    sums, grad_bases, grad_weights = values_and_grads(mix_bases, *random_inputs((0, 4, 3)))
    assert sums.shape == (0, 3)
    assert grad_bases.shape == (0, 4, 3)
    assert not grad_weights.any()


def test_strided_inputs_are_read_correctly():
    wide, weights, _ = random_inputs((40, 6, 28))
    torch.testing.assert_close(
        mix_bases(wide[:, ::2, ::2], weights[::2, ::2]),
        mix_bases(wide[:, ::2, ::2].clone(), weights[::2, ::2].clone()),
    )


@pytest.mark.long
def test_operator_keeps_the_rules_of_torch():
    bases, weights, _ = random_inputs((9, 4, 5))
    torch.library.opcheck(module._mix, (bases, weights))


def test_wrong_tensors_are_refused_by_name():
    bases, weights, _ = random_inputs((9, 4, 5))
    with pytest.raises(ValueError, match=r"bases has shape \(9, 4, 5\) and weights \(4, 4\)"):
        mix_bases(bases, weights[:, :4])
    with pytest.raises(TypeError, match=r"bases is torch.float32 on cpu and weights is .*float64"):
        mix_bases(bases, weights.double())
    with pytest.raises(TypeError, match="float16 and requires a gradient"):
        mix_bases(bases.detach().half().requires_grad_(), weights)
