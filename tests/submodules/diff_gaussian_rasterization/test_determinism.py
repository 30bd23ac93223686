"""The same bits for any number of threads; the same picture from every variant."""

import diff_gaussian_rasterization as package
import pytest
import torch

from tests.submodules.diff_gaussian_rasterization.raster_scenes import (
    cast,
    draw_native,
    random_scene,
    with_gradients,
    worst,
)


def crowded(dtype):
    return cast(random_scene(3000, 150, 110, seed=2), dtype)


@pytest.mark.usefixtures("restore_threads")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_results_do_not_depend_on_the_number_of_threads(variant, dtype):
    scene = crowded(dtype)
    results = []
    for threads in (1, 2, 3, 5, 2):
        torch.set_num_threads(threads)
        image, gradients = with_gradients(draw_native, scene)
        results.append([*image, *gradients.values()])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("channels", [None, 7])
def test_variants_agree(variant, channels):
    scene = cast(random_scene(800, 90, 70, channels=channels), torch.float32)
    image, gradients = with_gradients(draw_native, scene)
    package.choose_variant("portable")
    expected, truth = with_gradients(draw_native, scene)
    for found, other in zip(image[:3], expected[:3], strict=True):
        # A pixel may fall on either side of alpha = 1/255 or of the last light.
        assert (found - other).abs().max() < 5e-3
        assert (found - other).abs().mean() < 1e-6
    for name, gradient in gradients.items():
        assert worst(gradient, truth[name]) < 1e-3, name
