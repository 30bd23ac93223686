"""The Adam step on CUDA kernels: against the CPU kernels and the slow twin."""

import pytest
import torch
from fused_fields import adam_step, cuda

from .cuda_backends import BACKENDS, backend
from .test_adam import make_tensors, random_rows, run_steps, twin_step


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows_of_step", [None, random_rows(0.1), random_rows(0.6)])
def test_steps_equal_the_cpus_and_the_slow_twins(rows_of_step, dtype, kind):
    run = backend(kind)

    def step_there(*lists, rows, **settings):
        there = [[tensor.to(run.device) for tensor in tensors] for tensors in lists]
        run.adam_step(*there, rows=None if rows is None else rows.to(run.device), **settings)
        for moved, tensors in zip(there, lists, strict=True):
            for new, tensor in zip(moved, tensors, strict=True):
                tensor.copy_(new)

    found = run_steps(step_there, rows_of_step=rows_of_step, dtype=dtype)
    rtol, atol = (2e-6, 1e-6) if dtype == torch.float32 else (1e-13, 1e-14)
    for other in (adam_step, twin_step):
        expected = run_steps(other, rows_of_step=rows_of_step, dtype=dtype)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


def test_rows_left_out_keep_every_bit():
    params, exp_avgs, exp_avg_sqs, grads = make_tensors()
    before = [tensor.clone() for tensor in (*params, *exp_avgs, *exp_avg_sqs)]
    rows = random_rows(0.5)[0]
    for grad in grads[0]:
        grad[~rows] = torch.nan
    run = backend("backward")
    run.adam_step(params, grads[0], exp_avgs, exp_avg_sqs, lr=0.1, step=1, rows=rows)
    for tensor, old in zip((*params, *exp_avgs, *exp_avg_sqs), before, strict=True):
        assert torch.equal(tensor[~rows], old[~rows])
        assert tensor.isfinite().all()


def test_more_tensors_than_one_launch_takes_go_in_several():
    count = 2 * cuda.adam.MOST_TENSORS + 3
    params = [torch.ones(2) for _ in range(count)]
    moments = [[torch.zeros(2) for _ in range(count)] for _ in range(2)]
    run = backend("forward")
    run.adam_step(params, [torch.ones(2) for _ in range(count)], *moments, lr=0.5, step=1)
    for param in params:
        torch.testing.assert_close(param, torch.full((2,), 0.5))
