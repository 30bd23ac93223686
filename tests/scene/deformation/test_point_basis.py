"""The low-rank cloud: its sizes, how it starts, and what a coefficient does."""

import pytest
import torch

from scene.deformation.point_basis import START_SPREAD, PointBasis
from utils.random import generator

UNUSED_HEAD = 25 * 512 + 25  # of the published network, for colours that nothing reads


def basis(n_points=200, n_shapes=30, *, published=False, octaves=6, width=32, depth=2):
    return PointBasis(
        n_points,
        n_shapes,
        octaves=octaves,
        width=width,
        depth=depth,
        source=generator(0, "test"),
        published=published,
    )


@pytest.mark.parametrize(
    ("octaves", "n_shapes", "n_points", "network", "shapes"),
    [(6, 47, 5_000, 933_448, 705_000), (30, 25, 1_500, 946_738, 112_500)],
)
def test_the_published_sizes(octaves, n_shapes, n_points, network, shapes):
    found = basis(n_points, n_shapes, octaves=octaves, width=512, depth=6, published=True)
    assert found.shapes.numel() == shapes
    rest = sum(p.numel() for name, p in found.named_parameters() if name != "shapes")
    assert rest + UNUSED_HEAD == network


def test_published_shapes_are_unit_vectors_and_all_points_start_in_one_place():
    found = basis(published=True)
    norms = found.shapes.norm(dim=0)
    assert torch.allclose(norms, torch.ones_like(norms), atol=1e-6)
    places = found(torch.tensor([0.0, 0.5, 1.0])).detach()
    assert float(places.abs().max()) < 1e-2


def test_ours_start_as_a_ball_that_rests():
    found = basis(2_000)
    clouds = found(torch.tensor([0.0, 0.3, 1.0]))
    assert torch.equal(clouds[0], clouds[2])
    assert float(clouds[0].std()) == pytest.approx(START_SPREAD, rel=0.1)


def test_the_first_shapes_move_the_cloud_as_a_whole_and_linearly():
    found, times = basis(), torch.tensor([0.4])
    rest = found(times)[0]
    with torch.no_grad():
        found.head.bias[2] = 0.5  # a shift along y
        assert torch.allclose(found(times)[0], rest + torch.tensor([0, 0.5, 0]), atol=1e-6)
        found.head.bias[2], found.head.bias[4 + 1] = 0, 0.25  # x by y
        sheared = rest + torch.stack([0.25 * rest[:, 1], *torch.zeros(2, len(rest))], 1)
        assert torch.allclose(found(times)[0], sheared, atol=1e-6)


def test_later_waves_are_finer():
    """How much a shape differs between near points grows along the list."""
    found = basis(1_000, 60)
    rest = found.shapes[0].T
    near = torch.cdist(rest, rest).fill_diagonal_(9).argmin(1)
    rough = (found.shapes - found.shapes[:, :, near]).square().sum(1).mean(1).detach()
    assert float(rough[13:25].mean()) < 0.3 * float(rough[-12:].mean())


def test_a_cloud_is_the_sum_of_shapes_by_coefficients():
    found, times = basis(), torch.rand(5, generator=generator(0, "times"))
    with torch.no_grad():
        torch.nn.init.normal_(found.head.weight, generator=generator(0, "head"))
    slow = sum(
        c[:, None, None] * shape.T[None]
        for c, shape in zip(found.coefficients(times).float().T, found.shapes, strict=True)
    )
    assert torch.allclose(found(times), slow, atol=1e-5)


def test_straightened_shapes_tell_the_same_motion_by_even_coefficients():
    found, times = basis(n_shapes=8), torch.linspace(0, 1, 50)
    draw = generator(1, "test")
    with torch.no_grad():  # small ways beside a large mean, as the coarse stage leaves them
        found.head.weight.copy_(0.01 * torch.randn(8, 32, generator=draw))
        found.head.weight[7] = 0  # as many ways as can be kept
        found.head.bias.add_(0.2 * torch.randn(8, generator=draw))
        before = found(times)
        found.straighten(times, 0.3)
        after, coefficients = found(times), found.coefficients(times)
    assert float((before - before.mean(0)).abs().max()) > 0.01
    assert torch.allclose(after, before, atol=1e-5)
    assert torch.allclose(coefficients[:, 0], torch.ones(50).double())
    assert torch.allclose(found.shapes[0].T, before.mean(0), atol=1e-5)
    spread = (coefficients - coefficients.mean(0)).square().mean(0).sqrt()
    assert float(spread[1]) == pytest.approx(0.3, abs=1e-3)
    assert float(spread.max()) < 0.301
    assert float(coefficients[:, 1:].mean(0).abs().max()) < 1e-4


def test_a_cloud_that_rests_may_be_straightened():
    found, times = basis(n_shapes=8), torch.linspace(0, 1, 50)
    with torch.no_grad():
        before = found(times)
        found.straighten(times, 0.3)
        assert torch.allclose(found(times), before, atol=1e-6)
