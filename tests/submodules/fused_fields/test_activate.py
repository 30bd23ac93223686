"""Columns of a table, activated: kernels, emulated CUDA kernels too, against the PyTorch twin and
finite differences."""

import fused_fields
import pytest
import torch
from fused_fields import reference

from .cuda_backends import BACKENDS, backend


def make_columns(count, rest=15, dtype=torch.float32, seed=0):
    draw = torch.Generator().manual_seed(seed)
    shapes = [(4,), (3,), (1,), (1, 3), (rest, 3)]
    columns = [torch.randn(count, *shape, generator=draw, dtype=dtype) for shape in shapes]
    return [column.requires_grad_() for column in columns]


def values_and_gradients(activate, columns, bands):
    drawn = activate(*columns, bands=bands)
    draw = torch.Generator().manual_seed(1)
    upstream = [torch.randn(d.shape, generator=draw, dtype=torch.float64).to(d) for d in drawn]
    return [*(d.detach() for d in drawn), *torch.autograd.grad(drawn, columns, upstream)]


def compare(activate, columns, bands):
    """Within rounding of the twin in float64."""
    exact = [column.detach().cpu().double().requires_grad_() for column in columns]
    truth = values_and_gradients(reference.activate, exact, bands)
    error = 1e-6 if columns[0].dtype == torch.float32 else 1e-14
    found = values_and_gradients(activate, columns, bands)
    for mine, true in zip(found, truth, strict=True):
        torch.testing.assert_close(mine.cpu().double(), true, rtol=error, atol=error)


@pytest.mark.parametrize(("rest", "bands"), [(15, 16), (15, 4), (8, 1), (0, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_equal_the_twins_in_double(variant, dtype, rest, bands):
    for count in (0, 1, 7, 517):
        compare(fused_fields.activate, make_columns(count, rest, dtype), bands)


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize(("rest", "bands"), [(15, 4), (0, 1)])
def test_cuda_kernels_equal_the_twins_in_double(kind, rest, bands):
    run = backend(kind)
    for count in (0, 300):
        columns = [c.detach().to(run.device).requires_grad_() for c in make_columns(count, rest)]
        compare(run.activate, columns, bands)


@pytest.mark.parametrize("kind", ["cpu", "forward"])
def test_gradients_equal_finite_differences(kind):
    activate = fused_fields.activate if kind == "cpu" else backend(kind).activate
    columns = make_columns(2, 1, torch.float64)
    assert torch.autograd.gradcheck(lambda *columns: activate(*columns, bands=2), columns)


def test_far_numbers_become_what_torch_makes_of_them(variant):
    far = torch.tensor([-torch.inf, -800, -104, -88, -20, 88.7, 89, 800, torch.inf, torch.nan])
    columns = [
        torch.zeros(10, 4),
        far[:, None].repeat(1, 3),
        far[:, None],
        *torch.zeros(2, 10, 1, 3),
    ]
    columns[0][1:3] = torch.tensor([[1e-13, 0, 0, 0], [torch.nan, 0, 0, 0]])
    found = fused_fields.activate(*columns, bands=2)
    for mine, true in zip(found, reference.activate(*columns, 2), strict=True):
        torch.testing.assert_close(mine, true, equal_nan=True, rtol=1e-6, atol=1e-37)


def test_bits_do_not_depend_on_the_number_of_threads(thread_counts):
    runs = []
    for threads in thread_counts:
        torch.set_num_threads(threads)
        runs.append(values_and_gradients(fused_fields.activate, make_columns(9000), 16))
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


@pytest.mark.long
def test_operator_keeps_the_rules_of_torch_library():
    torch.library.opcheck(torch.ops.fused_fields.activate.default, (*make_columns(4), 4))


def test_columns_that_do_not_fit_are_named():
    columns = make_columns(4)
    with pytest.raises(ValueError, match=r"sh_dc has shape \(3, 1, 3\); expected \(4, 1, 3\)"):
        fused_fields.activate(*columns[:3], columns[3][:3], columns[4], bands=1)
    with pytest.raises(ValueError, match="bands is 17; expected 1 to 16"):
        fused_fields.activate(*columns, bands=17)
    with pytest.raises(TypeError, match="log_scales is torch"):
        fused_fields.activate(columns[0], columns[1].double(), *columns[2:], bands=1)
