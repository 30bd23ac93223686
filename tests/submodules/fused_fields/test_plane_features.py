"""Plane-field lookup: kernels against the PyTorch twin, finite differences and edge cases."""

import pytest
import torch
from fused_fields import (
    HEXPLANE_PAIRS,
    TRIPLANE_PAIRS,
    copy_features,
    plane_features,
    planes,
    reference,
)

pytestmark = pytest.mark.filterwarnings("error::UserWarning:fused_fields")

# name -> pairs, sizes of the axes per level, channels, shared time
FIELDS = {
    "hexplane": (HEXPLANE_PAIRS, ((8, 9, 10, 5), (16, 18, 20, 5)), 32, 0.3),
    "hexplane, 16 channels": (HEXPLANE_PAIRS, ((8, 9, 10, 5),), 16, -0.71),
    "hexplane, time per point": (HEXPLANE_PAIRS, ((8, 9, 10, 5), (6, 6, 6, 5)), 32, None),
    "tri-plane": (TRIPLANE_PAIRS, ((12, 11, 10),), 32, None),
    "tri-plane, 8 channels": (TRIPLANE_PAIRS, ((12, 11, 10),), 8, None),
    "two planes, odd channels": (((0, 1), (1, 2)), ((7, 6, 5), (4, 3, 9), (2, 2, 2)), 37, None),
    "planes of one row": (HEXPLANE_PAIRS, ((5, 1, 6, 1),), 3, 0.5),
    "time outside": (HEXPLANE_PAIRS, ((5, 4, 6, 7),), 4, 1.5),
}


def make_field(name, *, n=700, dtype=torch.float32, spread=1.1):
    """Planes, points (some outside [-1, 1]) and keywords of a field, all with gradients."""
    pairs, levels, channels, time = FIELDS[name]
    random = torch.Generator().manual_seed(0)
    field = [
        [
            torch.rand(sizes[b], sizes[a], channels, generator=random, dtype=dtype) + 0.2
            for a, b in pairs
        ]
        for sizes in levels
    ]
    axes = len(levels[0]) - (time is not None)
    points = (torch.rand(n, axes, generator=random, dtype=dtype) * 2 - 1) * spread
    for tensor in (points, *flatten(field)):
        tensor.requires_grad_()
    return field, points, {"pairs": pairs, "time": time}


def flatten(field):
    return [plane for level in field for plane in level]


def value_and_gradients(lookup, field, points, options, silent=()):
    """`silent`: points whose features get no gradient."""
    features = lookup(field, points, **options)
    random = torch.Generator().manual_seed(1)
    upstream = torch.randn(features.shape, generator=random, dtype=features.dtype)
    upstream[list(silent)] = 0
    flat = [points, *flatten(field)]
    return [features.detach(), *torch.autograd.grad(features, flat, upstream)]


def relative_error(found, expected):
    found, expected = found.detach(), expected.detach()
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-30))


@pytest.mark.parametrize("name", FIELDS)
def test_features_and_gradients_equal_the_twins(name, variant):
    field, points, options = make_field(name)
    found = value_and_gradients(plane_features, field, points, options)
    expected = value_and_gradients(reference.plane_features, field, points, options)
    for a, b in zip(found, expected, strict=True):
        assert relative_error(a, b) < 1e-5


@pytest.mark.parametrize("silent", [range(0, 700, 3), range(699), range(700)])
@pytest.mark.parametrize("name", FIELDS)
def test_points_without_a_gradient_are_left_out_of_it(name, variant, silent):
    field, points, options = make_field(name)
    found = value_and_gradients(plane_features, field, points, options, silent)
    expected = value_and_gradients(reference.plane_features, field, points, options, silent)
    for a, b in zip(found, expected, strict=True):
        assert relative_error(a, b) < 1e-5
    assert not found[1][list(silent)].any()


@pytest.mark.parametrize("name", FIELDS)
def test_double_features_and_gradients_equal_the_twins(name):
    field, points, options = make_field(name, n=300, dtype=torch.float64)
    found = value_and_gradients(plane_features, field, points, options)
    expected = value_and_gradients(reference.plane_features, field, points, options)
    for a, b in zip(found, expected, strict=True):
        assert relative_error(a, b) < 1e-13


@pytest.mark.parametrize("name", ["hexplane", "hexplane, time per point", "tri-plane"])
def test_gradients_equal_finite_differences(name):
    pairs, _, _, time = FIELDS[name]
    field = [
        [torch.rand(4, 4, 2, dtype=torch.float64, requires_grad=True) for _ in pairs]
        for _ in range(2)
    ]
    axes = 1 + max(max(pair) for pair in pairs) - (time is not None)
    # With 4 nodes cells are 2/3 wide: these points keep 0.05 from the nearest border.
    cells = torch.randint(3, (6, axes), generator=torch.Generator().manual_seed(2))
    inside = torch.rand(6, axes, dtype=torch.float64) * 0.56 + 0.05
    points = (cells * 2 / 3 + inside - 1).requires_grad_()

    def lookup(points, *flat):
        levels = [flat[: len(pairs)], flat[len(pairs) :]]
        return plane_features(levels, points, pairs=pairs, time=time)

    assert torch.autograd.gradcheck(lookup, (points, *flatten(field)), atol=1e-7)


@pytest.mark.parametrize(
    "name",
    ["hexplane", "hexplane, time per point", "planes of one row", "two planes, odd channels"],
)
def test_bits_do_not_depend_on_threads_or_run(name, thread_counts):
    field, points, options = make_field(name, n=5000)
    runs = []
    for threads in (*thread_counts, *thread_counts):
        torch.set_num_threads(threads)
        runs.append(value_and_gradients(plane_features, field, points, options))
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], run, strict=True))


def test_shared_time_equals_the_same_time_at_every_point():
    field, points, options = make_field("hexplane")
    time = torch.full((len(points), 1), options["time"])
    shared = plane_features(field, points, time=options["time"])
    each = plane_features(field, points, time=time)
    assert relative_error(shared, each) < 1e-6
    assert torch.equal(shared, plane_features(field, points, time=time[0]))


def test_time_tensor_receives_a_gradient():
    field, points, _ = make_field("hexplane", n=50, dtype=torch.float64)
    time = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(plane_features(field, points, time=time).sum(), time)
    high, low = (plane_features(field, points, time=0.3 + d).sum() for d in (1e-6, -1e-6))
    assert float(found) == pytest.approx(float((high - low).detach()) / 2e-6, rel=1e-6)


def test_features_are_exact_at_the_nodes():
    plane = torch.rand(3, 5, 4)
    columns, rows = torch.meshgrid(
        torch.linspace(-1, 1, 5), torch.linspace(-1, 1, 3), indexing="xy"
    )
    points = torch.stack([columns, rows], dim=-1).reshape(-1, 2)
    features = plane_features([[plane]], points, pairs=((0, 1),))
    torch.testing.assert_close(features, plane.reshape(-1, 4), rtol=1e-6, atol=1e-6)


def test_no_points_give_no_features_and_zero_gradients(variant):
    field, points, options = make_field("hexplane", n=0)
    features, grad_points, *grads = value_and_gradients(plane_features, field, points, options)
    assert features.shape == (0, 64)
    assert grad_points.shape == (0, 3)
    assert all(not grad.any() for grad in grads)


def test_points_outside_are_clamped_and_get_no_gradient_along_that_axis(variant):
    field, _, options = make_field("hexplane")
    outside = torch.tensor([[1.5, 0.2, -9.0], [-torch.inf, 0.2, torch.inf]], requires_grad=True)
    features = plane_features(field, outside, **options)
    clamped = plane_features(field, outside.detach().clamp(-1, 1), **options)
    assert torch.equal(features, clamped)
    (grad,) = torch.autograd.grad(features.sum(), outside)
    assert not grad[:, [0, 2]].any()
    assert grad[:, 1].all()


def test_nan_coordinate_makes_nan_features_of_that_point_only(variant):
    for name in ("hexplane", "hexplane, time per point"):
        field, points, options = make_field(name)
        with torch.no_grad():
            points[3, 1] = torch.nan
        features, *grads = value_and_gradients(plane_features, field, points, options)
        assert features.isnan().all(1).nonzero().flatten().tolist() == [3]
        assert features.isnan().any(1).sum() == 1
        assert all(grad.shape for grad in grads)
        assert torch.equal(
            features.isnan(), reference.plane_features(field, points, **options).isnan()
        )


def test_parts_that_need_no_gradient_get_none():
    field, points, options = make_field("hexplane")
    plane_features(field, points.detach(), **options).sum().backward()
    assert points.grad is None
    assert field[0][2].grad is not None
    frozen = [[plane.detach() for plane in level] for level in field]
    plane_features(frozen, points, **options).sum().backward()
    assert points.grad is not None


def test_planes_need_not_be_contiguous():
    field, points, options = make_field("hexplane")
    strided = [[p.permute(2, 0, 1).contiguous().permute(1, 2, 0) for p in level] for level in field]
    assert torch.equal(
        plane_features(strided, points, **options), plane_features(field, points, **options)
    )


@pytest.mark.long
def test_operator_keeps_the_rules_of_torch_library():
    field, points, _ = make_field("tri-plane", n=20)
    axes = [axis for pair in TRIPLANE_PAIRS for axis in pair]
    torch.library.opcheck(planes._lookup.overload, (field[0], points, axes, 0.0))


def make_copies(side, n=600):
    """Three tri-planes of 8 channels, and as many copies of points, some of them outside."""
    random = torch.Generator().manual_seed(3)
    groups = [
        [torch.rand(side, side + 1, 8, generator=random) + 0.2 for _ in TRIPLANE_PAIRS]
        for _ in range(3)
    ]
    copies = 1.1 * (2 * torch.rand(3, n, 3, generator=random) - 1)
    for tensor in (copies, *flatten(groups)):
        tensor.requires_grad_()
    return groups, copies


@pytest.mark.parametrize("side", [9, 80])  # 80: more planes than are read in any order
def test_copies_read_their_own_planes_side_by_side(side, variant):
    groups, copies = make_copies(side)
    found = copy_features(groups, copies)
    singly = [
        plane_features([group], points, pairs=TRIPLANE_PAIRS)
        for group, points in zip(groups, copies, strict=True)
    ]
    truth = torch.cat(singly, dim=1)
    assert torch.equal(found, truth)
    upstream = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    upstream[::4] = 0
    flat = [copies, *flatten(groups)]
    for mine, true in zip(
        torch.autograd.grad(found, flat, upstream), torch.autograd.grad(truth, flat, upstream),
        strict=True,
    ):  # fmt: skip
        assert torch.equal(mine, true)


def test_a_group_that_two_copies_read_gets_both_gradients():
    groups, copies = make_copies(9)
    upstream = torch.ones(600, 24)
    last = groups[-1][2]
    (found,) = torch.autograd.grad(copy_features([groups[-1]] * 3, copies), last, upstream)
    once = plane_features([groups[-1]], copies.flatten(0, 1), pairs=TRIPLANE_PAIRS)
    (truth,) = torch.autograd.grad(once, last, torch.ones_like(once))
    torch.testing.assert_close(found, truth)


@pytest.mark.long
def test_operator_of_copies_keeps_the_rules_of_torch_library():
    groups, copies = make_copies(5, n=20)
    axes = [axis for pair in TRIPLANE_PAIRS for axis in pair]
    torch.library.opcheck(planes._lookup_copies.overload, (flatten(groups), copies, axes))


def test_copies_that_do_not_fit_their_planes_are_refused():
    groups, copies = make_copies(5, n=20)
    with pytest.raises(ValueError, match=r"copies has shape \(2, 20, 3\) and planes 3 groups"):
        copy_features(groups, copies[:2])
    with pytest.raises(ValueError, match=r"planes\[2\]\[1\] has shape"):
        copy_features([*groups[:2], [groups[2][0], groups[2][1][..., :3], groups[2][2]]], copies)


BAD = {
    "points has shape": lambda f, p: plane_features(f, p[0]),
    r"planes\[1\] has 5 planes": lambda f, p: plane_features([f[0], f[1][:5]], p, time=0.0),
    r"planes\[0\]\[2\] has shape": lambda f, p: plane_features(
        [[*f[0][:2], f[0][2][..., :7], *f[0][3:]]], p, time=0.0
    ),
    "planes has 0 levels": lambda f, p: plane_features([], p, time=0.0),
    "do not fit points of 3 columns and no time": lambda f, p: plane_features(f, p),
    "put time .axis 3. first": lambda f, p: plane_features(
        [level[:1] for level in f], p, pairs=((3, 0),), time=0.0
    ),
    "time has shape": lambda f, p: plane_features(f, p, time=torch.zeros(2)),
}


@pytest.mark.parametrize("message", BAD)
def test_wrong_shapes_are_refused_by_argument(message):
    field, points, _ = make_field("hexplane")
    with pytest.raises(ValueError, match=message):
        BAD[message](field, points)


def test_mixed_dtypes_are_refused_by_argument():
    field, points, options = make_field("hexplane")
    with pytest.raises(TypeError, match=r"planes\[0\]\[0\] is torch.float32"):
        plane_features(field, points.double(), **options)
