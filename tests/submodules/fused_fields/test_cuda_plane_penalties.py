"""Plane regularisers on CUDA kernels: against the CPU kernels and autograd."""

import pytest
import torch
from fused_fields import add_plane_penalties
from fused_fields.cuda.plane_penalties import MOST_PLANES

from .cuda_backends import BACKENDS, backend
from .test_plane_penalties import make_planes, truth, value_and_gradients


def compare(name, planes, rtol, atol):
    run = backend(name)
    moved = [plane.to(run.device) for plane in planes]
    found = value_and_gradients(run.add_plane_penalties, moved, before=0.5)
    on_cpu = value_and_gradients(add_plane_penalties, planes, before=0.5)
    for other in (on_cpu, truth(planes, before=0.5)):
        for a, b in zip(found, other, strict=True):
            torch.testing.assert_close(a.cpu(), b, rtol=rtol, atol=atol)


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("channels", [1, 3, 5, 32])
def test_sums_and_gradients_equal_the_cpus_and_autograds(channels, kind):
    compare(kind, make_planes(channels), 1e-5, 1e-6)


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("channels", [3, 32])
def test_double_sums_and_gradients_equal_the_cpus_and_autograds(channels, kind):
    compare(kind, make_planes(channels, torch.float64), 1e-12, 1e-13)


def test_flat_planes_get_a_gradient_of_exactly_zero():
    planes = [torch.full_like(plane, 0.3) for plane in make_planes()]
    grads = [torch.zeros_like(plane) for plane in planes]
    backend("forward").add_plane_penalties(planes, grads, [[0.3, 0.7, 0.0]] * len(planes))
    assert not any(grad.any() for grad in grads)


def test_more_planes_than_one_launch_takes_go_in_several():
    planes = [plane for _ in range(8) for plane in make_planes(3)]
    assert len(planes) > MOST_PLANES
    compare("forward", planes, 1e-5, 1e-6)


def test_bits_do_not_depend_on_run_or_order_of_threads():
    planes = make_planes()
    runs = [
        value_and_gradients(backend(order).add_plane_penalties, planes)
        for order in ("forward", "backward", "forward")
    ]
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], run, strict=True))
