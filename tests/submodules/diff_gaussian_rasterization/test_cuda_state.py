"""What the GPU backend keeps between its passes: the CPU's pairs, and the same bits every time."""

import pytest
import torch
from diff_gaussian_rasterization import cpu, cuda

from tests.submodules.diff_gaussian_rasterization.raster_scenes import (
    cast,
    draw_on_gpu,
    draw_with,
    inputs_of,
    random_scene,
    with_gradients,
)
from tests.submodules.emulation import emulated

SCENES = {
    "many": {"count": 3000, "width": 150, "height": 110, "seed": 2},
    "odd size": {"count": 400, "width": 131, "height": 75},
    "one row": {"count": 60, "width": 131, "height": 1},
}


def with_large_ones(scene):
    """Some Gaussians that reach more tiles than one thread places or adds up alone."""
    scene["scales"][:9] *= 20
    return scene


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", SCENES.values(), ids=SCENES)
def test_pairs_and_radii_are_those_of_the_cpu(kind, dtype):
    inputs = inputs_of(cast(with_large_ones(random_scene(**kind)), dtype))
    found, expected = cuda.forward(inputs, emulated(cuda.PROGRAM)), cpu.forward(inputs)
    for name in ("radii", "offsets", "pairs", "tiles"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name


def test_a_large_gaussian_takes_more_tiles_than_one_thread_places():
    inputs = inputs_of(with_large_ones(random_scene(**SCENES["many"])))
    pairs = cpu.forward(inputs).offsets.diff()
    assert (pairs > 64).any()  # kFewTiles of place.cuh, and kFewSlots of project_backward.cuh
    assert ((pairs > 0) & (pairs <= 32)).any()


def test_images_of_many_tiles_sort_by_wider_keys(monkeypatch):
    inputs = inputs_of(random_scene(300, 90, 70))
    kernels = emulated(cuda.PROGRAM)
    expected = cuda.forward(inputs, kernels)
    monkeypatch.setattr(cuda, "NARROW_TILES", 0)
    found = cuda.forward(inputs, kernels)
    for name in ("color", "pairs", "tiles"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_results_do_not_depend_on_the_order_of_threads_and_blocks(dtype):
    scene = cast(with_large_ones(random_scene(800, 100, 80, seed=2)), dtype)
    results = []
    for order in ("forward", "backward", "forward"):
        image, gradients = with_gradients(draw_with(emulated(cuda.PROGRAM, order)), scene)
        results.append([*image, *gradients.values()])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.usefixtures("gpu")
def test_a_gpu_gives_the_same_bits_every_time():
    scene = cast(with_large_ones(random_scene(3000, 150, 110, seed=2)), torch.float32)
    results = []
    for _ in range(5):
        image, gradients = with_gradients(draw_on_gpu, scene)
        results.append([*image, *gradients.values()])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
