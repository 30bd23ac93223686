import math

import pytest
import torch
from fused_fields import HEXPLANE_PAIRS as PAIRS
from torch.nn import functional as F

from scene.deformation.hexplane import HexPlane

LOW, HIGH = torch.tensor([-1.0, -2.0, 0.0]), torch.tensor([1.0, 2.0, 3.0])


def field(channels=4, multipliers=(1, 2), **options):
    torch.manual_seed(0)
    return HexPlane(
        LOW, HIGH, resolution=[8, 8, 8, 5], channels=channels, multipliers=multipliers, **options
    )


def randomise(grid):
    with torch.no_grad():
        for plane in grid.parameters():
            plane.uniform_(0.5, 1.5)
    return grid


def by_grid_sample(grid, means, along):
    """The same field from torch's own sampler."""
    unit = 2 * (means - LOW) / (HIGH - LOW) - 1
    points = torch.cat([unit, torch.full((len(means), 1), along)], dim=1)
    features = []
    for level in grid.levels:
        product = 1.0
        for (a, b), plane in zip(PAIRS, level, strict=True):
            where = points[None, None][..., [a, b]]
            image = plane.permute(2, 0, 1)[None]
            sampled = F.grid_sample(image, where, align_corners=True, padding_mode="border")
            product = product * sampled[0, :, 0].T
        features.append(product)
    return torch.cat(features, dim=1)


@pytest.mark.parametrize("time", [0.0, 0.3, 1.0])
def test_features_are_the_products_that_torch_s_sampler_gives(time):
    grid = randomise(field())
    means = LOW + (HIGH - LOW) * torch.rand(50, 3) * 1.2 - 0.1
    torch.testing.assert_close(grid(means, time), by_grid_sample(grid, means, 2 * time - 1))


def test_the_whole_time_plane_is_read_and_half_of_it_in_the_parity_setting():
    for half, first_row in ((False, 0), (True, 2)):
        grid = field(half_time=half)
        grid(torch.rand(10, 3), 0.0).sum().backward()
        xt = grid.levels[0][2]
        assert xt.grad[first_row].any()
        assert not xt.grad[first_row + 1 :].any()


def test_fresh_planes_do_not_depend_on_time_and_are_not_penalised_in_it():
    grid, means = field(), torch.rand(10, 3)
    torch.testing.assert_close(grid(means, 0.1), grid(means, 0.9))
    assert grid.pull_smooth(plane_smooth=0.0, time_smooth=1.0, time_l1=1.0).item() == 0


def test_parameter_count_of_the_published_lego_field():
    grid = HexPlane(LOW, HIGH, resolution=[64, 64, 64, 25], channels=32, multipliers=[1, 2])
    assert sum(p.numel() for p in grid.parameters()) == 2_426_880


@pytest.mark.parametrize("one_way", [True, False])
def test_the_pull_to_smooth_planes_is_a_weighted_sum_and_adds_its_gradient(one_way):
    grid = randomise(field())
    space, time, l1 = 0.0, 0.0, 0.0
    for level in grid.levels:
        for (_, b), plane in zip(PAIRS, level, strict=True):
            rows = plane.diff(n=2, dim=0).square().mean()
            if b == 3:
                time, l1 = time + rows, l1 + (1 - plane).abs().mean()
            else:
                space = space + rows + (0 if one_way else plane.diff(n=2, dim=1).square().mean())
    expected = 0.3 * space + 0.2 * time + 0.1 * l1
    (2 * expected).backward()  # what is there before
    grads = [3 * plane.grad / 2 for plane in grid.parameters()]
    found = grid.pull_smooth(plane_smooth=0.3, time_smooth=0.2, time_l1=0.1, one_way=one_way)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert math.isfinite(found.item())
    for plane, grad in zip(grid.parameters(), grads, strict=True):
        torch.testing.assert_close(plane.grad, grad, rtol=1e-4, atol=1e-7)
