"""Plane regularisers on CUDA kernels: against the CPU kernels, the twin and finite differences."""

import pytest
import torch
from fused_fields import plane_penalties, reference
from fused_fields.cuda import plane_penalties as host

from .cuda_backends import BACKENDS, backend
from .test_plane_penalties import make_planes


def values_and_gradients(penalize, planes):
    terms = torch.stack(list(penalize(planes)))
    random = torch.Generator().manual_seed(1)
    upstream = torch.rand(terms.shape, generator=random, dtype=torch.float64).to(terms)
    return [terms.detach(), *torch.autograd.grad(terms, planes, upstream)]


def compare(name, planes, rtol, atol):
    run = backend(name)
    moved = [plane.detach().to(run.device).requires_grad_() for plane in planes]
    found = values_and_gradients(run.plane_penalties, moved)
    for other in (plane_penalties, reference.plane_penalties):
        for a, b in zip(found, values_and_gradients(other, planes), strict=True):
            torch.testing.assert_close(a.cpu(), b, rtol=rtol, atol=atol)


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("channels", [1, 3, 5, 32])
def test_penalties_and_gradients_equal_the_cpus_and_the_twins(channels, kind):
    compare(kind, make_planes(channels), 1e-5, 1e-6)


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("channels", [3, 32])
def test_double_penalties_and_gradients_equal_the_cpus_and_the_twins(channels, kind):
    compare(kind, make_planes(channels, torch.float64), 1e-12, 1e-13)


def test_gradients_equal_finite_differences():
    random = torch.Generator().manual_seed(0)
    planes = [
        torch.rand(rows, cols, 3, generator=random, dtype=torch.float64).requires_grad_()
        for rows, cols in ((5, 6), (3, 7), (2, 4))
    ]
    run = backend("forward")
    assert torch.autograd.gradcheck(lambda *planes: run.plane_penalties(planes), planes)


def test_more_planes_than_one_launch_takes_go_in_several():
    planes = [plane for _ in range(8) for plane in make_planes(3)]
    assert len(planes) > host.MOST_PLANES
    compare("forward", planes, 1e-5, 1e-6)


def test_bits_do_not_depend_on_run_or_order_of_threads():
    planes = make_planes()
    runs = [
        values_and_gradients(backend(order).plane_penalties, planes)
        for order in ("forward", "backward", "forward")
    ]
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], run, strict=True))
