"""The Adam step: kernels against torch.optim.Adam, and against a slow twin where rows are left
out."""

import pytest
import torch
from fused_fields import adam, adam_step, reference

SHAPES = ((3,), (1,), (15, 3), (), (70,), (9, 9, 9))  # of a row
SETTINGS = {"lr": 0.03, "betas": (0.85, 0.99), "eps": 1e-10}


def make_tensors(n=83, dtype=torch.float32, seed=0):
    """Params, zero moments, and the gradients of six steps."""
    random = torch.Generator().manual_seed(seed)
    params = [torch.randn(n, *shape, generator=random, dtype=dtype) for shape in SHAPES]
    grads = [
        [torch.randn(p.shape, generator=random, dtype=dtype) for p in params] for _ in range(6)
    ]
    exp_avgs, exp_avg_sqs = ([torch.zeros_like(p) for p in params] for _ in range(2))
    return params, exp_avgs, exp_avg_sqs, grads


def run_steps(step_function, *, rows_of_step=None, dtype=torch.float32):
    """Params and moments after six steps, flat."""
    params, exp_avgs, exp_avg_sqs, grads = make_tensors(dtype=dtype)
    for step in range(1, 7):
        rows = None if rows_of_step is None else rows_of_step[step - 1]
        step_function(
            params, grads[step - 1], exp_avgs, exp_avg_sqs, step=step, rows=rows, **SETTINGS
        )
    return [*params, *exp_avgs, *exp_avg_sqs]


def twin_step(params, grads, exp_avgs, exp_avg_sqs, *, lr, step, betas, eps, rows):
    """Row by row, in the words of Kingma and Ba, algorithm 1."""
    chosen = range(len(params[0])) if rows is None else rows.nonzero()[:, 0].tolist()
    for param, grad, m, v in zip(params, grads, exp_avgs, exp_avg_sqs, strict=True):
        for i in chosen:
            m[i] = betas[0] * m[i] + (1 - betas[0]) * grad[i]
            v[i] = betas[1] * v[i] + (1 - betas[1]) * grad[i] ** 2
            m_hat, v_hat = m[i] / (1 - betas[0] ** step), v[i] / (1 - betas[1] ** step)
            param[i] -= lr * m_hat / (v_hat.sqrt() + eps)


def random_rows(share, n=83):
    random = torch.Generator().manual_seed(5)
    return [torch.rand(n, generator=random) < share for _ in range(6)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dense_steps_equal_torch_adam(dtype, variant):
    params, _, _, grads = make_tensors(dtype=dtype)
    theirs = [torch.nn.Parameter(param) for param in params]
    optimizer = torch.optim.Adam(theirs, foreach=False, **SETTINGS)
    for step in range(6):
        for param, grad in zip(theirs, grads[step], strict=True):
            param.grad = grad
        optimizer.step()
    state = [optimizer.state[p] for p in theirs]
    moments = [s[key] for key in ("exp_avg", "exp_avg_sq") for s in state]
    for a, b in zip(run_steps(adam_step, dtype=dtype), [*theirs, *moments], strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=2e-6 if a.dtype.itemsize == 4 else 1e-13,
                                   atol=1e-6 if a.dtype.itemsize == 4 else 1e-14)  # fmt: skip


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_of_some_rows_equal_the_slow_twin(share, dtype, variant):
    rows = random_rows(share)
    found = run_steps(adam_step, rows_of_step=rows, dtype=dtype)
    expected = run_steps(twin_step, rows_of_step=rows, dtype=dtype)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-6 if a.dtype.itemsize == 4 else 1e-13,
                                   atol=1e-6 if a.dtype.itemsize == 4 else 1e-14)  # fmt: skip


def test_rows_left_out_keep_every_bit_even_beside_gradients_that_are_not_finite(variant):
    params, exp_avgs, exp_avg_sqs, grads = make_tensors()
    before = [tensor.clone() for tensor in (*params, *exp_avgs, *exp_avg_sqs)]
    rows = random_rows(0.5)[0]
    for grad in grads[0]:
        grad[~rows] = torch.nan
    adam_step(params, grads[0], exp_avgs, exp_avg_sqs, step=1, rows=rows, **SETTINGS)
    for tensor, old in zip((*params, *exp_avgs, *exp_avg_sqs), before, strict=True):
        assert torch.equal(tensor[~rows], old[~rows])
        assert tensor.isfinite().all()
        assert not torch.equal(tensor[rows], old[rows])


def test_all_rows_chosen_equal_no_choice_bit_by_bit(variant):
    every = [torch.ones(83, dtype=torch.bool)] * 6
    for a, b in zip(run_steps(adam_step, rows_of_step=every), run_steps(adam_step), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("rows_of_step", [None, random_rows(0.5)])
def test_bits_do_not_depend_on_threads(rows_of_step, thread_counts):
    runs = []
    for threads in thread_counts:
        torch.set_num_threads(threads)
        runs.append(run_steps(adam_step, rows_of_step=rows_of_step))
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], run, strict=True))


def test_each_tensor_may_have_its_own_rate_and_step():
    params, exp_avgs, exp_avg_sqs, grads = make_tensors()
    alone = [[t.clone() for t in tensors] for tensors in (params, exp_avgs, exp_avg_sqs)]
    rates, steps = [0.01 * (k + 1) for k in range(len(params))], list(range(1, len(params) + 1))
    adam_step(params, grads[0], exp_avgs, exp_avg_sqs, lr=rates, step=steps)
    for k in range(len(params)):
        one = [[tensors[k]] for tensors in alone]
        adam_step(one[0], [grads[0][k]], one[1], one[2], lr=rates[k], step=steps[k])
        assert torch.equal(one[0][0], params[k])


def test_parameters_that_require_gradients_are_stepped_and_their_version_counts_it():
    param = torch.nn.Parameter(torch.ones(3, 2))
    version = param._version
    moments = [torch.zeros(3, 2)], [torch.zeros(3, 2)]
    adam_step([param], [torch.ones(3, 2)], *moments, lr=0.5, step=1)
    torch.testing.assert_close(param.detach(), torch.full((3, 2), 0.5))
    assert param._version > version


def test_nothing_to_step_is_no_error():
    adam_step([], [], [], [], lr=0.1, step=1)
    empty = [torch.zeros(0, 3)]
    adam_step(empty, empty, [torch.zeros(0, 3)], [torch.zeros(0, 3)], lr=0.1, step=1,
              rows=torch.zeros(0, dtype=torch.bool))  # fmt: skip


@pytest.mark.long
def test_operator_keeps_the_rules_of_torch_library():
    params, exp_avgs, exp_avg_sqs, grads = make_tensors()
    rows, count = random_rows(0.5)[0], len(params)
    settings = ([0.1] * count, [1.0] * count, [0.9, 0.999], 1e-8)
    arguments = (params, grads[0], exp_avgs, exp_avg_sqs, rows, *settings)
    torch.library.opcheck(adam._step.overload, arguments)


def test_reference_is_the_slow_twin():
    rows = random_rows(0.5)

    def step_reference(*tensors, lr, step, betas, eps, rows):
        rates = [lr / (1 - betas[0] ** step)] * len(SHAPES)
        spreads = [(1 - betas[1] ** step) ** -0.5] * len(SHAPES)
        reference.adam_step(*tensors, rows, rates, spreads, betas, eps)

    for chosen in (None, rows):
        found = run_steps(step_reference, rows_of_step=chosen, dtype=torch.float64)
        expected = run_steps(twin_step, rows_of_step=chosen, dtype=torch.float64)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-14)


def test_wrong_tensors_are_refused_by_argument():
    def call(param=None, grad=None, moment=None, *, step=1, **options):
        param = torch.zeros(4, 3) if param is None else param
        grad, moment = (torch.zeros(4, 3) if t is None else t for t in (grad, moment))
        adam_step([param], [grad], [moment], [torch.zeros(4, 3)], lr=0.1, step=step, **options)

    with pytest.raises(ValueError, match=r"grads\[0\] has shape \(4, 2\); expected \(4, 3\)"):
        call(grad=torch.zeros(4, 2))
    with pytest.raises(TypeError, match=r"exp_avgs\[0\] is torch.float64"):
        call(moment=torch.zeros(4, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"params\[0\] has to be contiguous"):
        call(param=torch.zeros(3, 4).T)
    with pytest.raises(ValueError, match="steps count from 1"):
        call(step=0)
    with pytest.raises(ValueError, match=r"rows is torch\.uint8"):
        call(rows=torch.zeros(4, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"params\[0\] has shape \(4, 3\) and rows 5 values"):
        call(rows=torch.zeros(5, dtype=torch.bool))
    with pytest.raises(ValueError, match="lr has 2 values for 1 params"):
        adam_step(*([torch.zeros(2)] for _ in range(4)), lr=[0.1, 0.2], step=1)
    with pytest.raises(ValueError, match="grads has 0 tensors for 1 params"):
        adam_step([torch.zeros(2)], [], [], [], lr=0.1, step=1)
