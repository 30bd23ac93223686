"""The GPU search, emulated, against SciPy's k-d tree and the CPU path's edge cases."""

from __future__ import annotations

import pytest
import torch
from scipy.spatial import cKDTree
from simple_knn import cuda, mean_knn_squared_distance

from tests.submodules.emulation import emulated


def search(points: torch.Tensor, k: int = 3, order: str = "forward") -> torch.Tensor:
    return cuda.mean_squared_distance(points, k, emulated(cuda.PROGRAM, order))


def random_points(n: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("k", [1, 3, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_agrees_with_scipy(k, dtype):
    points = random_points(700, dtype=dtype)  # two full tiles and part of a third
    distances, _ = cKDTree(points.double().numpy()).query(points.double().numpy(), k=k + 1)
    expected = torch.from_numpy(distances[:, 1:]).square().mean(1).to(dtype)
    torch.testing.assert_close(search(points, k), expected)


@pytest.mark.parametrize("n", [2, 3, 5, 255, 256, 257, 512])
def test_any_number_of_points(n):
    points = random_points(n, seed=n)
    torch.testing.assert_close(search(points), mean_knn_squared_distance(points))
    torch.testing.assert_close(search(points, k=8), mean_knn_squared_distance(points, k=8))


def test_the_order_of_the_threads_does_not_matter():
    points = random_points(600, seed=1)
    assert search(points).equal(search(points, order="backward"))


def test_coincident_points_are_neighbours_at_distance_zero():
    points = random_points(80, seed=3)
    assert search(points.repeat_interleave(4, dim=0)).eq(0).all()
    pairs = points.repeat_interleave(2, dim=0)
    torch.testing.assert_close(search(pairs), mean_knn_squared_distance(pairs))


def test_small_gaps_far_from_the_origin_keep_their_digits():
    points = random_points(300, seed=2) * 1e-2 + 1e3
    torch.testing.assert_close(search(points), mean_knn_squared_distance(points))


def test_squares_that_overflow_are_infinite_on_both():
    points = random_points(20) * 1e25
    assert search(points).isinf().all()
    assert mean_knn_squared_distance(points).isinf().all()


def test_result_takes_the_dtype_and_no_gradient():
    points = random_points(300).to(torch.bfloat16).requires_grad_()
    result = search(points.T.contiguous().T)
    assert (result.dtype, result.requires_grad) == (torch.bfloat16, False)
    torch.testing.assert_close(result, mean_knn_squared_distance(points))


def test_without_kernels_a_gpu_tensor_is_searched_on_the_cpu_with_one_sentence(monkeypatch):
    """A CPU tensor that says it is on a card, on a machine where kernels cannot run."""

    class Pretended(torch.Tensor):
        is_cuda = True

    points = random_points(50)
    with pytest.warns(RuntimeWarning, match="simple-knn searches on the CPU: kernels run on CUDA"):
        result = mean_knn_squared_distance(points.as_subclass(Pretended))
    torch.testing.assert_close(result.as_subclass(torch.Tensor), mean_knn_squared_distance(points))
