"""Mean errors: kernels, emulated CUDA kernels too, against the PyTorch twin and finite
differences."""

import pytest
import torch
from fused_fields import mean_error, reference

from .cuda_backends import BACKENDS, backend


def make_pair(shape, dtype=torch.float32):
    draw = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, *shape, generator=draw, dtype=dtype)
    b.view(-1)[0] = a.view(-1)[0]  # no difference, no gradient
    return a.requires_grad_(), b.requires_grad_()


def values_and_gradients(error, pair, squared):
    mean = error(*pair, squared=squared)
    return [mean.detach(), *torch.autograd.grad(3 * mean, pair)]


def compare(error, pair, squared):
    exact = [x.detach().cpu().double().requires_grad_() for x in pair]
    truth = values_and_gradients(reference.mean_error, exact, squared)
    bound = 1e-6 if pair[0].dtype == torch.float32 else 1e-14
    for mine, true in zip(values_and_gradients(error, pair, squared), truth, strict=True):
        torch.testing.assert_close(mine.cpu().double(), true, rtol=bound, atol=0)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_equal_the_twins_in_double(variant, dtype, squared):
    for shape in ((3, 61, 73), (1,), (2, 5)):
        compare(mean_error, make_pair(shape, dtype), squared)


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("squared", [False, True])
def test_cuda_kernels_equal_the_twins_in_double(kind, squared):
    run = backend(kind)
    pair = [x.detach().to(run.device).requires_grad_() for x in make_pair((3, 30, 33))]
    compare(run.mean_error, pair, squared)


@pytest.mark.parametrize("kind", ["cpu", "forward"])
@pytest.mark.parametrize("squared", [False, True])
def test_gradients_equal_finite_differences(kind, squared):
    error = mean_error if kind == "cpu" else backend(kind).mean_error
    a, b = torch.linspace(0, 1, 12, dtype=torch.float64).reshape(2, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: error(a, b, squared=squared), (a, b))


def test_bits_do_not_depend_on_the_number_of_threads(thread_counts):
    runs = []
    for threads in thread_counts:
        torch.set_num_threads(threads)
        runs.append(values_and_gradients(mean_error, make_pair((3, 100, 100)), False))
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


def test_a_bad_number_shows_in_the_mean_and_at_its_place():
    a, b = make_pair((4, 20))
    with torch.no_grad():
        a[1, 3] = torch.nan
    mean, grad, _ = values_and_gradients(mean_error, (a, b), False)
    assert mean.isnan()
    assert grad.isnan().nonzero().tolist() == [[1, 3]]


@pytest.mark.long
def test_operator_keeps_the_rules_of_torch_library():
    torch.library.opcheck(torch.ops.fused_fields.mean_error.default, (*make_pair((2, 9)), True))


def test_tensors_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(3,\)"):
        mean_error(torch.zeros(2), torch.zeros(3), squared=True)
    with pytest.raises(ValueError, match="not empty"):
        mean_error(torch.zeros(0), torch.zeros(0), squared=True)
    with pytest.raises(TypeError, match="a is torch"):
        mean_error(torch.zeros(2).double(), torch.zeros(2), squared=True)
