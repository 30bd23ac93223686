"""Sums of linear bases on CUDA kernels: against the slow twin in double."""

import pytest
import torch
from fused_fields import reference

from .cuda_backends import BACKENDS, backend
from .test_mix_bases import in_double, random_inputs, values_and_grads

SHAPES = [(150, 20, 14), (65, 5, 17), (1, 1, 1)]  # rows of the first: over two blocks


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_match_the_twin(shape, dtype, kind):
    run = backend(kind)
    inputs = random_inputs(shape, dtype)
    there = [t.detach().to(run.device).requires_grad_(t.requires_grad) for t in inputs]
    found = values_and_grads(run.mix_bases, *there)
    truth = values_and_grads(reference.mix_bases, *in_double(*inputs))
    for mine, true in zip(found, truth, strict=True):
        bound = 2e-6 if dtype == torch.float32 else 1e-14
        assert (mine.cpu() - true).norm() <= bound * true.norm()


@pytest.mark.parametrize("kind", BACKENDS)
def test_float16_bases_leave_the_gradient_to_the_weights(kind):
    run = backend(kind)
    bases, weights, cotangent = random_inputs((150, 20, 14))
    half = bases.detach().half()
    there = [half.to(run.device), weights.detach().to(run.device).requires_grad_()]
    found = values_and_grads(run.mix_bases, *there, cotangent.to(run.device))
    truth = values_and_grads(reference.mix_bases, *in_double(half, weights, cotangent))
    for mine, true in zip(found, truth, strict=True):
        assert (mine.cpu() - true).norm() <= 2e-6 * true.norm()


@pytest.mark.parametrize("kind", BACKENDS)
def test_every_finite_float16_is_read_exactly(kind):
    run = backend(kind)
    every = torch.arange(-(2**15), 2**15, 7).to(torch.int16).view(torch.float16)
    every = every[every.isfinite()][:, None, None].to(run.device)
    found = run.mix_bases(every, torch.ones(1, 1, device=run.device))
    assert torch.equal(found, every[:, 0].float())
