"""The GPU backend against the slow twin, finite differences, and the CPU backend."""

import pytest
import torch
from diff_gaussian_rasterization import cuda

from tests.submodules.diff_gaussian_rasterization.raster_scenes import (
    cast,
    draw_native,
    draw_twin,
    draw_with,
    random_scene,
    weights,
    with_gradients,
    worst,
)
from tests.submodules.diff_gaussian_rasterization.test_against_twin import KINDS
from tests.submodules.emulation import emulated


def assert_agree(draw, scene, dtype, image_bound, gradient_bound):
    """`draw` in `dtype` against the twin in float64, on the very same rounded inputs."""
    scene = cast(scene, dtype)
    image, gradients = with_gradients(draw, scene)
    expected_image, expected = with_gradients(draw_twin, cast(scene, torch.float64))
    for found, truth in zip(image[:3], expected_image[:3], strict=True):
        assert worst(found, truth) < image_bound
    assert torch.equal(image[3], expected_image[3])
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        assert worst(gradient, expected[name]) < gradient_bound, name


@pytest.mark.parametrize(
    "kind", ["sh", "thirty-three channels", "covariances", "wide", "one pixel"]
)
def test_float64_equals_the_twin(draw_cuda, kind):
    assert_agree(draw_cuda, random_scene(**KINDS[kind]), torch.float64, 1e-13, 1e-12)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_float32_equals_the_twin_in_float64(draw_cuda, kind):
    assert_agree(draw_cuda, random_scene(**kind), torch.float32, 3e-6, 1e-5)


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_only_the_active_sh_degree_counts(draw_cuda, degree):
    scene = random_scene() | {"sh_degree": degree}
    assert_agree(draw_cuda, scene, torch.float64, 1e-13, 1e-12)
    _, gradients = with_gradients(draw_cuda, scene)
    assert (gradients["sh"][:, (degree + 1) ** 2 :] == 0).all()
    fewer = scene | {"sh": scene["sh"][:, : (degree + 1) ** 2]}
    assert torch.equal(draw_cuda(fewer)[0], draw_cuda(scene)[0])


def test_crowded_tiles_close_pixels_alike(draw_cuda):
    scene = random_scene(1500, 40, 36, seed=3)
    scene["means"][:, :2] *= 0.5
    scene["opacities"] = scene["opacities"].clamp_min(0.3)
    assert (draw_twin(scene)[2] > 0.999).float().mean() > 0.3
    assert_agree(draw_cuda, scene, torch.float64, 1e-12, 1e-9)


def test_opaque_gaussians_are_bounded_alike(draw_cuda):
    scene = random_scene()
    scene["opacities"] = torch.full_like(scene["opacities"], 0.9999)
    assert_agree(draw_cuda, scene, torch.float64, 1e-13, 1e-11)


@pytest.mark.parametrize("length", [1.0, 10.0, 30.0])
def test_needles_keep_their_thickness_in_float32(draw_cuda, length):
    scene = random_scene(20)
    scene["scales"] = torch.tensor([length, 1e-3, 1e-4], dtype=torch.float64).expand(20, 3)
    assert_agree(draw_cuda, scene, torch.float32, 1e-5, 1000 * 2.0**-24)


@pytest.mark.parametrize("seen", [(0,), (1,), (2,), (0, 2)])
def test_a_loss_may_see_any_of_color_depth_and_alpha(draw_cuda, seen):
    scene = random_scene()
    some = [w if i in seen else None for i, w in enumerate(weights(scene))]
    _, gradients = with_gradients(draw_cuda, scene, some)
    _, expected = with_gradients(draw_twin, scene, some)
    for name, gradient in gradients.items():
        truth = torch.zeros_like(gradient) if expected[name] is None else expected[name]
        assert worst(gradient, truth) < 1e-12, name


@pytest.mark.parametrize("kind", ["sh", "thirty-three channels", "covariances"])
def test_gradients_equal_finite_differences(draw_cuda, kind):
    scene = random_scene(7, 18, 13, **KINDS[kind], seed=5)
    scene["scales"] = None if scene["scales"] is None else 2 * scene["scales"]
    image_weights = weights(scene)
    _, gradients = with_gradients(draw_cuda, scene)
    generator = torch.Generator().manual_seed(0)
    for name, gradient in gradients.items():
        if name == "means2d":  # a holder: its value is not read
            continue
        for i in torch.randperm(gradient.numel(), generator=generator)[:12].tolist():
            ends = []
            for step in (1e-6, -1e-6):
                moved = scene[name].clone().contiguous()
                moved.view(-1)[i] += step
                out = draw_cuda(scene | {name: moved})
                ends.append(sum((a * b).sum() for a, b in zip(out[:3], image_weights, strict=True)))
            error = gradient.reshape(-1)[i] - (ends[0] - ends[1]) / 2e-6
            assert error.abs() < 1e-6 * gradient.abs().max(), (name, i)


def test_5000_gaussians_agree_with_the_cpu_in_float32():
    scene = cast(random_scene(5000, 120, 90, seed=4), torch.float32)
    scene["scales"] = 0.4 * scene["scales"]
    draw = draw_with(emulated(cuda.PROGRAM))
    image, gradients = with_gradients(draw, scene)
    expected_image, expected = with_gradients(draw_native, scene)
    for found, truth in zip(image, expected_image, strict=True):
        assert worst(found, truth) < 1e-5
    for name, gradient in gradients.items():
        assert worst(gradient, expected[name]) < 1e-5, name
