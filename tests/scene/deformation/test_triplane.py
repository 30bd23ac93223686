import math

import pytest
import torch
from fused_fields import TRIPLANE_PAIRS, _native, reference, variant
from torch import nn
from torch.nn import functional as F

from scene.deformation.triplane import (
    TriPlane,
    column_scaled,
    drawn_rotations,
    rotated,
    unscaled_matrices,
)
from training.optimizers import Optimizers, ParamGroup
from training.schedules import constant
from utils.random import generator
from utils.rotations import quats_to_matrices


def field(**options):
    torch.manual_seed(0)
    return TriPlane(**{"resolution": 9, "channels": 32, "n_copies": 4, **options})


def points_and_quats(n=50):
    torch.manual_seed(1)
    return torch.rand(n, 3) * 2 - 1, torch.randn(n, 4, 4)


def by_grid_sample(planes, copies, groups):
    """The same features from torch's own sampler, copy by copy."""
    features = []
    for t, group in enumerate(groups):
        product = 1.0
        for (a, b), plane in zip(TRIPLANE_PAIRS, planes.groups[group], strict=True):
            image, where = plane.permute(2, 0, 1)[None], copies[None, None, :, t][..., [a, b]]
            sampled = F.grid_sample(image, where, align_corners=True, padding_mode="border")
            product = product * sampled[0, :, 0].T
        features.append(product)
    return torch.cat(features, dim=1)


@pytest.mark.parametrize(("last_only", "groups"), [(False, (0, 1, 2, 3)), (True, (3, 3, 3, 3))])
def test_features_are_what_torch_s_sampler_gives_each_copy_of_its_group(last_only, groups):
    planes, (points, quats) = field(last_group_only=last_only), points_and_quats()
    copies = rotated(points, quats) * 1.3  # some leave the planes
    found = planes(copies)
    assert found.shape == (50, 32)
    torch.testing.assert_close(found, by_grid_sample(planes, copies, groups), rtol=0, atol=1e-5)


def features_and_gradients():
    planes, (points, quats) = field(), points_and_quats()
    points.requires_grad_(), quats.requires_grad_()
    features = planes(rotated(points, quats))
    (features * torch.linspace(-1, 1, features.numel()).view_as(features)).sum().backward()
    return [features, points.grad, quats.grad, *(p.grad for p in planes.parameters())]


def test_the_kernel_is_used_where_it_is_there_else_the_slow_twin_with_equal_results(monkeypatch):
    twin, calls = reference.plane_features, []
    monkeypatch.setattr(
        reference, "plane_features", lambda *a, **k: calls.append(1) or twin(*a, **k)
    )
    if variant() == "reference":
        pytest.skip("fused_fields has no native kernels here")
    found = features_and_gradients()
    assert not calls
    monkeypatch.setattr(_native, "library", lambda: None)
    expected = features_and_gradients()
    assert calls
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=1e-5)
    for ours, theirs in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.long
def test_rotations_that_learn_through_the_planes_stay_on_the_sphere_for_1000_steps():
    """They learn to read what the planes hold at other rotations of the same points."""
    planes, (points, others) = field(resolution=2).requires_grad_(False), points_and_quats()
    target = planes(rotated(points, others))
    quats = nn.Parameter(drawn_rotations(200, generator(0, "test")).view(50, 4, 4))
    optimizers = Optimizers(
        [ParamGroup("rotations", lambda: [quats], constant(1e-2), manifold="sphere")]
    )
    losses = []
    for _ in range(1000):
        loss = (planes(rotated(points, quats)) - target).square().mean()
        loss.backward()
        optimizers.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    assert (quats.detach().norm(dim=-1) - 1).abs().max() < 1e-6


def test_in_the_parity_setting_the_other_groups_learn_nothing():
    planes, (points, quats) = field(last_group_only=True), points_and_quats()
    planes(rotated(points, quats)).sum().backward()
    assert [all(p.grad is not None for p in group) for group in planes.groups] == [False] * 3 + [
        True
    ]


def test_gradients_to_planes_positions_and_rotations_are_finite_differences():
    torch.manual_seed(2)
    planes = TriPlane(resolution=4, channels=4, n_copies=2).double()
    points = (torch.rand(3, 3, dtype=torch.float64) - 0.5).requires_grad_()
    quats = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)

    def loss(points, quats):
        return planes(rotated(points, quats))

    assert torch.autograd.gradcheck(loss, (points, quats), eps=1e-7, atol=1e-5)
    plane = planes.groups[1][2]
    loss(points, quats).square().sum().backward()
    for index in [(0, 0, 0), (1, 2, 1), (2, 1, 0), (3, 3, 1)]:
        ends = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                plane[index] += step
                ends.append(loss(points, quats).square().sum().item())
                plane[index] -= step
        assert plane.grad[index].item() == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-8)


def test_copies_are_turned_as_the_matrix_of_each_quaternion_turns():
    points, quats = points_and_quats()
    expected = (quats_to_matrices(quats) @ points[:, None, :, None])[..., 0]
    torch.testing.assert_close(rotated(points, quats), expected)
    torch.testing.assert_close(
        rotated(points, quats).norm(dim=2), points.norm(dim=1)[:, None].expand(-1, 4)
    )


def test_copies_by_one_rotation_coincide_with_the_point_under_the_identity():
    points, _ = points_and_quats()
    same = rotated(points, torch.tensor([1.0, 0, 0, 0]).expand(50, 4, 4))
    assert torch.equal(same, points[:, None].expand(-1, 4, -1))


def test_the_published_contraction_scales_the_axes_by_column_sums():
    points, quats = points_and_quats(5)
    matrices = quats_to_matrices(quats)
    found = column_scaled(points, matrices)
    for n in range(5):
        for t in range(4):
            sums = torch.stack(
                [
                    matrices[n, t, 0, j] + matrices[n, t, 1, j] + matrices[n, t, 2, j]
                    for j in range(3)
                ]
            )
            torch.testing.assert_close(found[n, t], points[n] * sums)


def test_the_published_matrix_is_right_on_the_sphere_and_no_rotation_off_it():
    unit = F.normalize(torch.randn(10, 4), dim=1)
    torch.testing.assert_close(unscaled_matrices(unit), quats_to_matrices(unit))
    # Half a turn about x, of length 1.5: y and z come out as 1 - 1.5 * 2, by hand from the formula.
    found = unscaled_matrices(torch.tensor([0.0, 1.5, 0, 0]))
    torch.testing.assert_close(found, torch.diag(torch.tensor([1.0, -2.0, -2.0])))


def test_first_rotations_are_uniform_and_the_published_ones_all_positive():
    quats = drawn_rotations(20_000, generator(0, "test"))
    torch.testing.assert_close(quats.norm(dim=1), torch.ones(20_000))
    # Uniform on the sphere of R^4: mean 0, covariance 1/4 of the identity.
    assert quats.mean(0).abs().max() < 0.015
    assert (quats.T @ quats / 20_000 - torch.eye(4) / 4).abs().max() < 0.01
    published = drawn_rotations(20_000, generator(0, "test"), whole_turn=False)
    assert published.min() >= 0
    expected = torch.tensor([1 - math.cos(1), math.sin(1)] * 2) * 2 / 3
    assert (published.mean(0) - expected).abs().max() < 0.01


def test_channels_that_copies_cannot_share_are_refused():
    with pytest.raises(ValueError, match="32 channels cannot be shared by 3 copies"):
        field(n_copies=3)
