"""simple-knn against brute force, and its answers for the inputs that have no neighbours."""

from __future__ import annotations

import pytest
import torch
from simple_knn import mean_knn_squared_distance
from simple_knn._C import distCUDA2


def brute_force(points: torch.Tensor, k: int) -> torch.Tensor:
    squared = (points[:, None].double() - points[None].double()).square().sum(-1)
    squared.fill_diagonal_(torch.inf)
    return squared.sort(dim=1).values[:, :k].mean(dim=1).to(points.dtype)


def random_points(n: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_agrees_with_brute_force(k, dtype):
    points = random_points(500, dtype=dtype)
    torch.testing.assert_close(mean_knn_squared_distance(points, k), brute_force(points, k))


def test_dist_cuda2_is_the_mean_over_three_neighbours():
    points = random_points(300, seed=1)
    torch.testing.assert_close(distCUDA2(points), brute_force(points, 3))


def test_unit_grid_has_unit_distances():
    axis = torch.arange(5.0)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)
    torch.testing.assert_close(distCUDA2(points), torch.ones(125))


def test_small_gaps_far_from_the_origin_keep_their_digits():
    points = random_points(200, seed=2, dtype=torch.float64) * 1e-3
    moved = points + 1e4
    torch.testing.assert_close(distCUDA2(moved), brute_force(moved, 3))
    torch.testing.assert_close(distCUDA2(moved), distCUDA2(points), rtol=1e-6, atol=0)


def test_coincident_points_are_neighbours_at_distance_zero():
    points = random_points(50, seed=3).repeat_interleave(4, dim=0)
    assert distCUDA2(points).eq(0).all()
    pairs = random_points(50, seed=3).repeat_interleave(2, dim=0)
    torch.testing.assert_close(distCUDA2(pairs), brute_force(pairs, 3))
    assert distCUDA2(torch.ones(1000, 3)).eq(0).all()


@pytest.mark.parametrize("n", [0, 1])
def test_without_neighbours_the_distance_is_zero(n):
    result = distCUDA2(torch.ones(n, 3, dtype=torch.float64))
    assert result.shape == (n,)
    assert result.dtype == torch.float64
    assert result.eq(0).all()


@pytest.mark.parametrize("n", [2, 3, 4])
def test_few_points_average_over_the_neighbours_there_are(n):
    points = random_points(n, seed=4)
    torch.testing.assert_close(distCUDA2(points), brute_force(points, n - 1))


def test_result_takes_device_and_dtype_and_no_gradient():
    points = random_points(20).to(torch.bfloat16).requires_grad_()
    result = distCUDA2(points)
    assert (result.dtype, result.device, result.requires_grad) == (
        torch.bfloat16,
        points.device,
        False,
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_tensor_gives_the_cpu_answer_on_the_gpu():
    points = random_points(500)
    result = distCUDA2(points.cuda())
    assert result.is_cuda
    torch.testing.assert_close(result.cpu(), distCUDA2(points))


def test_strided_points_are_read_correctly():
    points = random_points(100, seed=5)
    torch.testing.assert_close(distCUDA2(points.T.contiguous().T), distCUDA2(points))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_coordinate_that_is_not_finite_is_refused_by_row(value):
    points = random_points(10)
    points[7, 1] = value
    with pytest.raises(ValueError, match="row 7"):
        distCUDA2(points)


@pytest.mark.parametrize("shape", [(3,), (5, 2), (5, 4), (2, 5, 3)])
def test_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"shape \(N, 3\), found"):
        distCUDA2(torch.zeros(shape))


def test_what_is_no_floating_tensor_is_refused():
    with pytest.raises(TypeError, match=r"int64"):
        distCUDA2(torch.zeros(5, 3, dtype=torch.int64))
    with pytest.raises(TypeError, match="ndarray"):
        distCUDA2(torch.zeros(5, 3).numpy())
    with pytest.raises(ValueError, match="k must be at least 1"):
        mean_knn_squared_distance(torch.zeros(5, 3), k=0)
