"""Steps on the unit sphere: the kernel against its twin in double, and against what a step is."""

import pytest
import torch
from fused_fields import reference, sphere_step


def start(shape, dtype=torch.float32):
    source = torch.Generator().manual_seed(0)
    param = torch.randn(shape, generator=source, dtype=torch.float64)
    param = (param / param.norm(dim=-1, keepdim=True)).to(dtype)
    return param, torch.zeros_like(param), torch.zeros_like(param)


def pull(param, step):
    source = torch.Generator().manual_seed(step)
    return torch.randn(param.shape, generator=source, dtype=torch.float64).to(param) + 0.2


@pytest.mark.parametrize("shape", [(1, 4), (700, 4), (37, 3, 4), (0, 4), (9, 5)])
def test_steps_equal_the_twins_in_double(variant, shape):
    mine, true = start(shape), start(shape, torch.float64)
    for step in range(1, 30):
        sphere_step(mine[0], pull(mine[0], step), *mine[1:], lr=0.03, step=step)
        rate, spread = 0.03 / (1 - 0.9**step), (1 - 0.999**step) ** -0.5
        found = pull(true[0], step)
        reference.sphere_step(true[0], found, *true[1:], rate, spread, (0.9, 0.999), 1e-8)
    for a, b in zip(mine, true, strict=True):
        assert (a - b).norm() <= 1e-5 * b.norm()


def test_doubles_equal_the_twins(variant):
    mine, true = start((50, 4), torch.float64), start((50, 4), torch.float64)
    found = pull(mine[0], 1)
    sphere_step(mine[0], found, *mine[1:], lr=0.1, step=1)
    reference.sphere_step(true[0], found, *true[1:], 1.0, 0.001**-0.5, (0.9, 0.999), 1e-8)
    for a, b in zip(mine, true, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-15)


def test_it_goes_downhill_on_the_sphere_to_the_nearest_point(variant):
    param, mean, square = start((200, 4))
    goal = torch.tensor([0.5, -0.5, 0.1, 0.7])
    for step in range(1, 1500):
        sphere_step(param, param - goal, mean, square, lr=0.03 * 0.995**step, step=step)
    assert (param - goal / goal.norm()).norm(dim=1).max() < 1e-3
    assert (param * mean).sum(1).abs().max() < 1e-6
    assert torch.equal(square, square[:, :1].expand_as(square))


def test_bits_do_not_depend_on_the_number_of_threads(thread_counts):
    runs = []
    for threads in thread_counts:
        torch.set_num_threads(threads)
        state = start((3000, 4))
        for step in (1, 2, 3):
            sphere_step(state[0], pull(state[0], step), *state[1:], lr=0.01, step=step)
        runs.append(state)
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


def test_what_does_not_fit_is_named():
    param, mean, square = start((5, 4))
    with pytest.raises(ValueError, match=r"grads\[0\] has shape \(4, 4\); expected \(5, 4\)"):
        sphere_step(param, torch.zeros(4, 4), mean, square, lr=0.1, step=1)
    with pytest.raises(ValueError, match="step is 0; steps count from 1"):
        sphere_step(param, mean, mean, square, lr=0.1, step=0)
