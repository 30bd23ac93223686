import pytest
import torch

from scene.frames import PointCloud
from scene.gaussian_model import GaussianTable, activate
from training.optimizers import Optimizers, ParamGroup
from training.schedules import constant


@pytest.fixture
def table():
    source = torch.Generator().manual_seed(0)
    xyz = torch.rand(20, 3, generator=source)
    return GaussianTable.from_points(PointCloud(xyz, torch.rand(20, 3, generator=source)), 3)


def optimizers_of(table):
    columns = table.columns
    groups = [ParamGroup(k, lambda k=k: [columns[k]], constant(1e-2)) for k in columns]
    return Optimizers(groups)


def step_with_random_gradients(table, optimizers, seed):
    source = torch.Generator().manual_seed(seed)
    for column in table.columns.values():
        column.grad = torch.randn(column.shape, generator=source)
    optimizers.step()


def test_initial_gaussians_have_the_point_s_colour_and_a_tenth_opacity(table):
    gaussians = activate(table.columns, 0)
    torch.testing.assert_close(gaussians.opacities, torch.full((20, 1), 0.1))
    assert gaussians.sh.shape == (20, 1, 3)
    grey = GaussianTable.from_points(PointCloud(torch.rand(5, 3), torch.full((5, 3), 0.5)), 0)
    assert torch.all(grey.columns["sh_dc"] == 0)


def test_initial_scale_is_the_rms_distance_to_three_neighbours(table):
    xyz = table.columns["means"].detach()
    nearest = torch.cdist(xyz, xyz).square().sort(dim=1).values[:, 1:4].mean(1).sqrt()
    found = table.columns["log_scales"].detach().exp()
    torch.testing.assert_close(found, nearest[:, None].expand(-1, 3), rtol=1e-4, atol=1e-6)


def test_active_degree_limits_the_bands(table):
    assert [activate(table.columns, d).sh.shape[1] for d in range(4)] == [1, 4, 9, 16]


def test_resize_moves_values_gradients_and_moments_together(table):
    optimizers = optimizers_of(table)
    step_with_random_gradients(table, optimizers, 1)
    before = {k: v.detach().clone() for k, v in table.columns.items()}
    moments = {k: v.clone() for k, v in optimizers.state().items()}
    for column in table.columns.values():
        column.grad = column.detach() * 2
    keep = torch.arange(20) % 3 > 0
    table.resize(keep, table.rows(torch.tensor([4, 5])), optimizers)
    n = int(keep.sum())
    assert len(table) == n + 2
    for name, column in table.columns.items():
        torch.testing.assert_close(column.detach()[:n], before[name][keep])
        torch.testing.assert_close(column.detach()[n:], before[name][4:6])
        torch.testing.assert_close(column.grad[:n], before[name][keep] * 2)
        assert not column.grad[n:].any()
        for moment in ("exp_avg", "exp_avg_sq"):
            found = optimizers.state()[f"{name}.0.{moment}"]
            torch.testing.assert_close(found[:n], moments[f"{name}.0.{moment}"][keep])
            assert not found[n:].any()


def test_a_resized_table_still_learns(table):
    optimizers = optimizers_of(table)
    step_with_random_gradients(table, optimizers, 1)
    table.resize(torch.arange(20) < 7, table.rows(torch.tensor([1])), optimizers)
    before = {k: v.detach().clone() for k, v in table.columns.items()}
    step_with_random_gradients(table, optimizers, 2)
    assert all((table.columns[k] != before[k]).all() for k in before)


def test_resize_refuses_rows_that_lack_a_column(table):
    rows = table.rows(torch.tensor([0]))
    rows.pop("quats")
    with pytest.raises(ValueError, match="quats"):
        table.resize(torch.ones(20, dtype=torch.bool), rows, optimizers_of(table))


@pytest.mark.parametrize("n", [1, 3])
def test_points_in_one_place_get_a_width_from_the_scene(n):
    cloud = PointCloud(torch.ones(n, 3), torch.ones(n, 3))
    scales = GaussianTable.from_points(cloud, 0, extent=50.0).columns["log_scales"].exp()
    torch.testing.assert_close(scales, torch.full((n, 3), 5.0))
