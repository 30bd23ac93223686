"""Linear blend skinning on CUDA kernels: against the slow twin in double."""

import pytest
import torch
from fused_fields import reference

from .cuda_backends import BACKENDS, backend
from .test_skinning import in_double, random_inputs, values_and_grads


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("canonical", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_match_the_twin(canonical, dtype, kind):
    run = backend(kind)
    inputs = random_inputs(300, canonical=canonical, dtype=dtype)  # over two blocks
    there = [
        t if t is None else t.detach().to(run.device).requires_grad_(t.requires_grad)
        for t in inputs
    ]
    found = values_and_grads(run.skin, there)
    truth = values_and_grads(reference.skin, in_double(inputs))
    for mine, true in zip(found, truth, strict=True):
        bound = 5e-6 if dtype == torch.float32 else 1e-13
        assert (mine.cpu() - true).norm() <= bound * true.norm()


@pytest.mark.parametrize("kind", BACKENDS)
def test_bones_that_learn_nothing_cost_no_gradient(kind):
    run = backend(kind)
    inputs = [t.detach().to(run.device).requires_grad_(k < 4) for k, t in
              enumerate(random_inputs(40))]  # fmt: skip
    found = values_and_grads(run.skin, inputs)
    truth = values_and_grads(reference.skin, in_double(t.cpu() for t in inputs))
    for mine, true in zip(found, truth, strict=True):
        assert (mine.cpu() - true).norm() <= 5e-6 * true.norm()
