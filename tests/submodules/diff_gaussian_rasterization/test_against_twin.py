"""The native kernels against the slow twin in PyTorch, and both against finite differences."""

import pytest
import torch

from tests.submodules.diff_gaussian_rasterization.raster_scenes import (
    cast,
    draw_native,
    draw_twin,
    random_scene,
    weights,
    with_gradients,
    worst,
)

KINDS = {
    "sh": {},
    "one channel": {"channels": 1},
    "three channels": {"channels": 3},
    "four channels": {"channels": 4},
    "sixteen channels": {"channels": 16},
    "thirty-three channels": {"channels": 33},
    "covariances": {"covariances": True},
    "wide": {"width": 131, "height": 5},
    "one pixel": {"width": 1, "height": 1},
}


def assert_agree(scene, dtype, image_bound, gradient_bound):
    """Native in `dtype` against the twin in float64, on the very same rounded inputs."""
    scene = cast(scene, dtype)
    image, gradients = with_gradients(draw_native, scene)
    expected_image, expected = with_gradients(draw_twin, cast(scene, torch.float64))
    for found, truth in zip(image[:3], expected_image[:3], strict=True):
        assert worst(found, truth) < image_bound
    assert torch.equal(image[3], expected_image[3])
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        assert worst(gradient, expected[name]) < gradient_bound, name


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_float64_equals_the_twin(variant, kind):
    assert_agree(random_scene(**kind), torch.float64, 1e-13, 1e-12)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_float32_equals_the_twin_in_float64(variant, kind):
    assert_agree(random_scene(**kind), torch.float32, 3e-6, 1e-5)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_only_the_active_sh_degree_counts(degree):
    scene = random_scene() | {"sh_degree": degree}
    assert_agree(scene, torch.float64, 1e-13, 1e-12)
    _, gradients = with_gradients(draw_native, scene)
    assert (gradients["sh"][:, (degree + 1) ** 2 :] == 0).all()
    fewer = scene | {"sh": scene["sh"][:, : (degree + 1) ** 2]}
    assert torch.equal(draw_native(fewer)[0], draw_native(scene)[0])


@pytest.mark.long
def test_crowded_tiles_close_pixels_alike():
    scene = random_scene(1500, 70, 60, seed=3)
    scene["means"][:, :2] *= 0.5
    scene["opacities"] = scene["opacities"].clamp_min(0.3)
    image, _ = with_gradients(draw_twin, scene)
    assert (image[2] > 0.999).float().mean() > 0.3  # the scene does what the test is about
    assert_agree(scene, torch.float64, 1e-12, 1e-9)


def test_opaque_gaussians_are_bounded_alike():
    scene = random_scene()
    scene["opacities"] = torch.full_like(scene["opacities"], 0.9999)
    assert_agree(scene, torch.float64, 1e-13, 1e-11)


@pytest.mark.parametrize("length", [1.0, 10.0, 30.0])
def test_needles_keep_their_thickness_in_float32(variant, length):
    """Axes of up to 600 by half a pixel; float32 through the usual conic errs by up to 9e-2
    here."""
    scene = random_scene(20)
    scene["scales"] = torch.tensor([length, 1e-3, 1e-4], dtype=torch.float64).expand(20, 3)
    rounding = 1000 * 2.0**-24  # of some thousand operations
    assert_agree(scene, torch.float32, 1e-5, rounding)


@pytest.mark.parametrize("seen", [(0,), (1,), (2,), (0, 2)])
def test_a_loss_may_see_any_of_color_depth_and_alpha(seen):
    scene = random_scene()
    some = [w if i in seen else None for i, w in enumerate(weights(scene))]
    _, gradients = with_gradients(draw_native, scene, some)
    _, expected = with_gradients(draw_twin, scene, some)
    for name, gradient in gradients.items():
        truth = torch.zeros_like(gradient) if expected[name] is None else expected[name]
        assert worst(gradient, truth) < 1e-12, name


@pytest.mark.parametrize("kind", ["sh", "four channels", "covariances"])
def test_gradients_equal_finite_differences(variant, kind):
    scene = random_scene(7, 18, 13, **KINDS[kind], seed=5)
    scene["scales"] = None if scene["scales"] is None else 2 * scene["scales"]
    image_weights = weights(scene)

    def loss(changed):
        out = draw_native(scene | changed)
        return sum((a * b).sum() for a, b in zip(out[:3], image_weights, strict=True)).item()

    _, gradients = with_gradients(draw_native, scene)
    step = 1e-6
    for name, gradient in gradients.items():
        if name == "means2d":  # a holder: its value is not read
            continue
        numeric = torch.zeros_like(gradient)
        for i in range(gradient.numel()):
            ends = []
            for sign in (1, -1):
                moved = scene[name].clone().contiguous()
                moved.view(-1)[i] += sign * step
                ends.append(loss({name: moved}))
            numeric.view(-1)[i] = (ends[0] - ends[1]) / (2 * step)
        assert worst(gradient, numeric) < 1e-6, name


def test_means2d_gradient_is_the_image_shift_in_ndc():
    """Moving the principal point moves all means on the image (and the Jacobian's bound, unused
    here)."""
    scene = random_scene(20, 32, 24)
    scene["means"] *= 0.3
    _, gradients = with_gradients(draw_native, scene)
    for axis, size in enumerate((32, 24)):
        ends = []
        for sign in (1, -1):
            K = scene["K"].clone()
            K[axis, 2] += sign * 1e-6
            out = draw_native(scene | {"K": K})
            ends.append(sum((a * b).sum() for a, b in zip(out[:3], weights(scene), strict=True)))
        per_pixel = (ends[0] - ends[1]) / 2e-6
        assert gradients["means2d"][:, axis].sum().item() == pytest.approx(
            per_pixel.item() * size / 2, rel=1e-5
        )
    assert (gradients["means2d"][:, 2] == 0).all()
