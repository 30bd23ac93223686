"""Sums of linear bases: kernels against the PyTorch twin in double, and finite differences."""

import math

import pytest
import torch
from fused_fields import add_bases, mix_bases, reference
from fused_fields import bases as module

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


# the widths of what a Gaussian's base adds to: columns of one, two and more dimensions
COLUMNS = [[(3,), (4,), (3,), (1,), (1, 3)], [(1,)], [(17,)], [(2, 30), (4,)]]


def added_and_grads(function, shapes, inputs):
    """Random columns of `shapes` with the bases added, and all gradients."""
    bases, weights, cotangent, *shared = inputs
    draw = torch.Generator().manual_seed(1)
    columns = [torch.randn(len(bases), *shape, generator=draw) for shape in shapes]
    columns = [column.to(weights.dtype).requires_grad_() for column in columns]
    found = function(columns, bases, weights, *shared)
    assert [column.shape for column in found] == [column.shape for column in columns]
    sums = torch.cat([column.flatten(1) for column in found], dim=1)
    wanted = [t for t in (*columns, bases, weights, *shared[:1]) if t.requires_grad]
    return [*found, *torch.autograd.grad(sums, wanted, cotangent)]


def second_weights(weights, rows):
    """Other weights, and how far each row goes towards them: some not at all, some all the way."""
    draw = torch.Generator().manual_seed(2)
    others = torch.randn(weights.shape, generator=draw, dtype=weights.dtype, requires_grad=True)
    share = (1.4 * torch.rand(rows, generator=draw, dtype=weights.dtype) - 0.2).clamp(0, 1)
    return others, share


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("shapes", COLUMNS)
def test_bases_added_to_columns_match_torch_in_double(variant, shapes, half, shared):
    width = sum(math.prod(shape) for shape in shapes)
    bases, weights, cotangent = random_inputs((1100, 6, width))
    if half:
        bases = bases.detach().half()
    inputs = bases, weights, cotangent, *(second_weights(weights, 1100) if shared else ())
    truth = added_and_grads(reference.add_bases, shapes, in_double(*inputs))
    for mine, true in zip(added_and_grads(add_bases, shapes, inputs), truth, strict=True):
        assert (mine - true).norm() <= 2e-6 * true.norm()


def test_a_row_takes_of_two_sets_of_weights_what_its_share_says(variant):
    """By loops over numbers, in double."""
    bases, weights, _ = random_inputs((9, 4, 5), torch.float64)
    bases, weights, others, share = (
        t.detach() for t in (bases, weights, *second_weights(weights, 9))
    )
    found = add_bases([torch.zeros(9, 5, dtype=torch.float64)], bases, weights, others, share)[0]
    for n in range(9):
        for c in range(5):
            mixed = [(1 - share[n]) * weights[k, c] + share[n] * others[k, c] for k in range(4)]
            expected = sum(float(bases[n, k, c] * mixed[k]) for k in range(4))
            assert found[n, c] == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_bits_of_shared_bases_do_not_depend_on_the_number_of_threads(thread_counts):
    inputs = random_inputs((5000, 20, 14))
    inputs, runs = (*inputs, *second_weights(inputs[1], 5000)), []
    for threads in thread_counts:
        torch.set_num_threads(threads)
        runs.append(added_and_grads(add_bases, COLUMNS[0], inputs))
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


def test_gradients_of_added_bases_match_finite_differences():
    bases, weights, _ = random_inputs((6, 3, 5), torch.float64)
    columns = [torch.randn(6, *shape, dtype=torch.float64) for shape in ((2,), (1, 3))]
    inputs = (*(column.requires_grad_() for column in columns), bases, weights)
    assert torch.autograd.gradcheck(lambda a, b, *rest: add_bases([a, b], *rest), inputs)
    others, share = second_weights(weights, 6)
    inputs = (*inputs, others)
    assert torch.autograd.gradcheck(lambda a, b, *rest: add_bases([a, b], *rest, share), inputs)


def test_added_bases_are_the_bits_of_sums_that_are_added_later(variant):
    bases, weights, columns = random_inputs((1100, 20, 14))
    with torch.no_grad():
        found = add_bases(list(columns.split([3, 11], dim=1)), bases, weights)
        assert torch.equal(torch.cat(found, dim=1), columns + mix_bases(bases, weights))


@pytest.mark.long
def test_operator_keeps_the_rules_of_torch():
    bases, weights, _ = random_inputs((9, 4, 5))
    torch.library.opcheck(module._mix.overload, (bases, weights))
    columns = [torch.randn(9, 2), torch.randn(9, 3)]
    torch.library.opcheck(module._add.overload, (columns, bases, weights, None))
    others, share = second_weights(weights, 9)
    both = torch.stack([weights, others])
    torch.library.opcheck(module._add.overload, (columns, bases, both, share))


def test_wrong_tensors_are_refused_by_name():
    bases, weights, _ = random_inputs((9, 4, 5))
    with pytest.raises(ValueError, match=r"bases has shape \(9, 4, 5\) and weights \(4, 4\)"):
        mix_bases(bases, weights[:, :4])
    with pytest.raises(TypeError, match=r"bases is torch.float32 on cpu and weights is .*float64"):
        mix_bases(bases, weights.double())
    with pytest.raises(TypeError, match="float16 and requires a gradient"):
        mix_bases(bases.detach().half().requires_grad_(), weights)
    with pytest.raises(ValueError, match=r"columns have shapes \[\(9, 4\)\] and bases \(9, 4, 5\)"):
        add_bases([torch.zeros(9, 4)], bases, weights)
    with pytest.raises(
        TypeError, match=r"a column is torch.float64 on cpu and weights is .*float32"
    ):
        add_bases([torch.zeros(9, 5, dtype=torch.float64)], bases, weights)
    column, share = [torch.zeros(9, 5)], torch.zeros(9)
    with pytest.raises(ValueError, match="give both or neither"):
        add_bases(column, bases, weights, weights)
    with pytest.raises(ValueError, match=r"share \(8,\); expected \(4, 5\) as weights, and \(9,\)"):
        add_bases(column, bases, weights, weights, share[:8])
    with pytest.raises(TypeError, match=r"others is torch.float64 on cpu and weights is .*float32"):
        add_bases(column, bases, weights, weights.double(), share)
