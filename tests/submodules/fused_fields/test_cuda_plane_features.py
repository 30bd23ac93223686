"""Plane lookup on CUDA kernels: against the CPU kernels, the twin and finite differences."""

import pytest
import torch
from fused_fields import TRIPLANE_PAIRS, plane_features, reference
from fused_fields.cuda import plane_lookup as host

from .cuda_backends import BACKENDS, backend
from .test_plane_features import FIELDS, flatten, make_field, relative_error

DOUBLE = ("hexplane", "two planes, odd channels", "planes of one row")


def on(device, field, points):
    """Copies there, with gradients."""
    field = [[plane.detach().to(device).requires_grad_() for plane in level] for level in field]
    return field, points.detach().to(device).requires_grad_()


def value_and_gradients(lookup, field, points, options):
    """Features, then gradients of points and planes, for an upstream gradient drawn on the CPU."""
    features = lookup(field, points, **options)
    random = torch.Generator().manual_seed(1)
    upstream = torch.randn(features.shape, generator=random, dtype=features.dtype).to(features)
    return [
        features.detach(),
        *torch.autograd.grad(features, [points, *flatten(field)], upstream),
    ]


def compare(name, field, points, options, bound=1e-5):
    """Values and gradients on the backend `name`; they equal those of the CPU and of the twin."""
    run = backend(name)
    found = value_and_gradients(run.plane_features, *on(run.device, field, points), options)
    for other in (plane_features, reference.plane_features):
        expected = value_and_gradients(other, field, points, options)
        for a, b in zip(found, expected, strict=True):
            assert relative_error(a.cpu(), b) < bound
    return found


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("name", FIELDS)
def test_features_and_gradients_equal_the_cpus_and_the_twins(name, kind):
    compare(kind, *make_field(name, n=150))


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("name", DOUBLE)
def test_double_features_and_gradients_equal_the_cpus_and_the_twins(name, kind):
    compare(kind, *make_field(name, n=150, dtype=torch.float64), 1e-12)


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("channels", [1, 5])
def test_few_and_odd_channels_equal_the_twins(channels, kind):
    random = torch.Generator().manual_seed(0)
    level = [torch.rand(6, 5, channels, generator=random).requires_grad_() for _ in range(3)]
    points = (torch.rand(70, 3, generator=random) * 2.2 - 1.1).requires_grad_()
    compare(kind, [level], points, {"pairs": TRIPLANE_PAIRS, "time": None})


@pytest.mark.parametrize("name", ["hexplane", "hexplane, time per point", "tri-plane"])
def test_gradients_equal_finite_differences(name):
    pairs, _, _, time = FIELDS[name]
    random = torch.Generator().manual_seed(0)
    field = [
        torch.rand(4, 4, 2, generator=random, dtype=torch.float64, requires_grad=True)
        for _ in range(2 * len(pairs))
    ]
    axes = 1 + max(max(pair) for pair in pairs) - (time is not None)
    # With 4 nodes cells are 2/3 wide: these points keep 0.05 from the nearest border.
    cells = torch.randint(3, (5, axes), generator=random)
    inside = torch.rand(5, axes, generator=random, dtype=torch.float64) * 0.56 + 0.05
    points = (cells * 2 / 3 + inside - 1).requires_grad_()
    run = backend("forward")

    def lookup(points, *flat):
        levels = [flat[: len(pairs)], flat[len(pairs) :]]
        return run.plane_features(levels, points, pairs=pairs, time=time)

    assert torch.autograd.gradcheck(lookup, (points, *field), atol=1e-7)


@pytest.mark.parametrize("name", ["hexplane", "two planes, odd channels"])
def test_cells_of_many_points_are_summed_by_whole_blocks(name):
    field, points, options = make_field(name, n=900)
    with torch.no_grad():
        points[:700] = points[0].clamp(-0.9, 0.9) + 0.01 * points[:700]
    compare("forward", field, points, options)


@pytest.mark.parametrize("name", ["hexplane", "hexplane, time per point"])
def test_points_that_go_in_turns_give_the_same_sums(name, monkeypatch):
    field, points, options = make_field(name, n=150)
    whole = compare("forward", field, points, options)
    bytes_per_point = 4 * sum(level[0].shape[-1] * len(level) for level in field)
    monkeypatch.setattr(host, "SCRATCH_BYTES", 40 * bytes_per_point)
    turns = compare("forward", field, points, options)
    for a, b in zip(whole, turns, strict=True):
        assert relative_error(a, b) < 1e-6


def test_more_planes_than_one_launch_takes_go_in_several():
    pairs, _, channels, time = FIELDS["hexplane"]
    random = torch.Generator().manual_seed(0)
    field = [
        [torch.rand(3, 2, channels, generator=random).add(0.2).requires_grad_() for _ in pairs]
        for _ in range(9)
    ]
    assert len(flatten(field)) > host.MOST_PLANES
    points = (torch.rand(20, 3, generator=random) * 2 - 1).requires_grad_()
    compare("forward", field, points, {"pairs": pairs, "time": time})


def test_planes_at_odd_addresses_are_read_in_narrower_packs():
    field, points, options = make_field("hexplane, 16 channels", n=50)
    moved = [
        torch.cat([plane.new_zeros(1), plane.detach().flatten()])[1:].view_as(plane)
        for plane in field[0]
    ]
    run = backend("forward")
    assert relative_error(
        run.plane_features([moved], points, **options), plane_features(field, points, **options)
    ) < 1e-6  # fmt: skip


@pytest.mark.parametrize("name", ["hexplane", "hexplane, time per point", "planes of one row"])
def test_bits_do_not_depend_on_run_or_order_of_threads(name):
    field, points, options = make_field(name, n=600)
    runs = [
        value_and_gradients(backend(order).plane_features, field, points, options)
        for order in ("forward", "backward", "forward")
    ]
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], run, strict=True))


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("n", [0, 1])
def test_one_point_and_no_points(n, kind):
    field, points, options = make_field("hexplane", n=n)
    if n:
        compare(kind, field, points, options)
        return
    run = backend(kind)
    found = value_and_gradients(run.plane_features, *on(run.device, field, points), options)
    assert found[0].shape == (0, 64)
    assert found[1].shape == (0, 3)
    assert all(not grad.any() for grad in found[2:])


@pytest.mark.parametrize("kind", BACKENDS)
def test_points_outside_are_clamped_and_get_no_gradient_along_that_axis(kind):
    run = backend(kind)
    field, _, options = make_field("hexplane")
    outside = torch.tensor([[1.5, 0.2, -9.0], [-torch.inf, 0.2, torch.inf], [1.0, 0.1, -1.0]])
    field, outside = on(run.device, field, outside)
    features = run.plane_features(field, outside, **options)
    assert torch.equal(features, run.plane_features(field, outside.clamp(-1, 1), **options))
    (grad,) = torch.autograd.grad(features.sum(), outside)
    assert not grad[:, [0, 2]].any()
    assert grad[:, 1].all()


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("name", ["hexplane", "hexplane, time per point"])
def test_nan_coordinate_makes_nan_features_of_that_point_only(name, kind):
    run = backend(kind)
    field, points, options = make_field(name, n=50)
    with torch.no_grad():
        points[3, 1] = torch.nan
    field, points = on(run.device, field, points)
    features, *grads = value_and_gradients(run.plane_features, field, points, options)
    assert features.isnan().all(1).nonzero().flatten().tolist() == [3]
    assert features.isnan().any(1).sum() == 1
    assert all(grad.shape for grad in grads)
