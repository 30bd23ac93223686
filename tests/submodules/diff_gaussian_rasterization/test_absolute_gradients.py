"""`means2d_abs` and means2D_densify: sums over pixels of what each adds, without its sign."""

from importlib import import_module

import pytest
import torch
from diff_gaussian_rasterization import cuda, rasterize

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
from tests.submodules.diff_gaussian_rasterization.test_dropin import settings_of
from tests.submodules.emulation import emulated

KINDS = {
    "sh": {},
    "one channel": {"channels": 1},
    "three channels": {"channels": 3},
    "eight channels": {"channels": 8},  # no room left in a row of sixteen
    "nine channels": {"channels": 9},
    "covariances": {"covariances": True},
}

QUICK = ("sh", "nine channels")  # the others take long where each pixel has a pass of its own


def some_long(names, quick):
    """The names as parameters, those that are not quick marked as long."""
    return [pytest.param(name, marks=() if name in quick else pytest.mark.long) for name in names]


def scene_with_holders(count=40, width=21, height=18, **kind):
    scene = random_scene(count, width, height, **kind)
    return scene | {"means2d_abs": torch.zeros(count, 3, dtype=torch.float64)}


def pixel_by_pixel(scene, image_weights):
    """The sum over pixels of |gradient to means2d of that pixel's loss|: a backward pass each."""
    total = torch.zeros_like(scene["means2d"])
    holder = scene["means2d"].clone().requires_grad_()
    rest = {k: v for k, v in scene.items() if k not in ("means2d", "means2d_abs")}
    out = rasterize(**rest, means2d=holder)
    image = torch.cat([out.color, out.depth, out.alpha])
    some = [
        torch.zeros_like(part) if w is None else w
        for w, part in zip(image_weights, (out.color, out.depth, out.alpha), strict=True)
    ]
    losses = (image * torch.cat(some)).sum(0).flatten()
    for loss in losses:
        (grad,) = torch.autograd.grad(loss, holder, retain_graph=True)
        total += grad.abs()
    return total


@pytest.mark.parametrize("kind", some_long(KINDS, QUICK))
def test_equals_the_sum_over_passes_for_single_pixels(variant, kind):
    scene = scene_with_holders(**KINDS[kind])
    expected = pixel_by_pixel(scene, weights(scene))
    _, gradients = with_gradients(draw_native, scene)
    assert worst(gradients["means2d_abs"], expected) < 1e-12
    assert (gradients["means2d_abs"] >= gradients["means2d"].abs() - 1e-9).all()
    assert (gradients["means2d_abs"] > 2 * gradients["means2d"].abs()).any()
    _, single = with_gradients(draw_native, cast(scene, torch.float32))
    assert worst(single["means2d_abs"], expected) < 1e-5


@pytest.mark.parametrize("seen", some_long([(0,), (1,), (2,)], [(1,)]))
def test_a_loss_may_see_any_of_color_depth_and_alpha(seen):
    scene = scene_with_holders()
    some = [w if i in seen else None for i, w in enumerate(weights(scene))]
    expected = pixel_by_pixel(scene, some)
    for draw in (draw_native, draw_twin, draw_with(emulated(cuda.PROGRAM))):
        _, gradients = with_gradients(draw, scene, some)
        assert worst(gradients["means2d_abs"], expected) < 1e-12


def test_antialiased_gaussians_have_theirs():
    scene = scene_with_holders() | {"antialiased": True}
    scene["scales"] = 0.3 * scene["scales"]
    expected = pixel_by_pixel(scene, weights(scene))
    _, gradients = with_gradients(draw_native, scene)
    assert worst(gradients["means2d_abs"], expected) < 1e-12


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_twin_and_gpu_kernels_equal_the_cpu(draw_cuda, kind):
    scene = scene_with_holders(count=120, width=50, height=37, **kind)
    _, expected = with_gradients(draw_native, scene)
    for draw in (draw_twin, draw_cuda):
        _, gradients = with_gradients(draw, scene)
        for name, gradient in gradients.items():
            assert worst(gradient, expected[name]) < 1e-11, name


@pytest.mark.parametrize("draw", [draw_native, draw_with(emulated(cuda.PROGRAM))])
def test_image_and_other_gradients_are_those_without(draw):
    scene = cast(scene_with_holders(channels=7), torch.float32)
    image, gradients = with_gradients(draw, scene)
    plain, truth = with_gradients(draw, {k: v for k, v in scene.items() if k != "means2d_abs"})
    assert all(torch.equal(a, b) for a, b in zip(image, plain, strict=True))
    for name, gradient in truth.items():
        assert worst(gradients[name], gradient) < 1e-6, name


@pytest.mark.usefixtures("restore_threads")
def test_results_do_not_depend_on_the_number_of_threads(variant):
    scene = cast(scene_with_holders(3000, 150, 110, seed=2), torch.float32)
    results = []
    for threads in (1, 3, 2):
        torch.set_num_threads(threads)
        results.append(with_gradients(draw_native, scene)[1]["means2d_abs"])
    assert all(torch.equal(results[0], other) for other in results[1:])


def test_rows_that_are_not_drawn_have_none():
    scene = scene_with_holders()
    scene["opacities"][7] = 0
    scene["means"][8] += torch.tensor([0, 0, -50.0])
    _, gradients = with_gradients(draw_native, scene)
    assert (gradients["means2d_abs"][[7, 8]] == 0).all()
    assert (gradients["means2d_abs"][:, 2] == 0).all()


def test_a_gpu_refuses_more_channels_than_one_pass_draws():
    scene = scene_with_holders(channels=33)
    with pytest.raises(ValueError, match="means2d_abs with 33 channels: a GPU"):
        draw_with(emulated(cuda.PROGRAM))(scene)
    _, gradients = with_gradients(draw_native, scene)
    _, expected = with_gradients(draw_twin, scene)
    assert worst(gradients["means2d_abs"], expected["means2d_abs"]) < 1e-12


def test_a_holder_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"means2d_abs has shape \(40, 2\), expected \(40, 3\)"):
        rasterize(**scene_with_holders() | {"means2d_abs": torch.zeros(40, 2).double()})


FORMS = (
    *("dropin", "color_radii_depth", "color_radii_depth_alpha"),
    *("color_depth_alpha_radii", "color_radii_invdepth"),
)


@pytest.mark.parametrize("form", some_long(FORMS, ["dropin", "color_radii_invdepth"]))
def test_means2d_densify_is_served_by_the_forms(form):
    """The call of Deformable 3D Gaussians; with invdepth, the loss sees that image, too."""
    scene = scene_with_holders()
    holders = [torch.zeros_like(scene["means"]).requires_grad_() for _ in range(2)]
    rasterizer = import_module(f"diff_gaussian_rasterization.{form}").GaussianRasterizer
    values = rasterizer(raster_settings=settings_of(scene))(
        means3D=scene["means"], means2D=holders[0], means2D_densify=holders[1], shs=scene["sh"],
        colors_precomp=None, opacities=scene["opacities"], scales=scene["scales"],
        rotations=scene["quats"], cov3D_precomp=None)  # fmt: skip
    images = [x for x in values if x.dim() == 3]
    pixels = sum((x**2).sum(0) for x in images).flatten()
    total = torch.zeros_like(scene["means"])
    for pixel in pixels:
        total += torch.autograd.grad(pixel, holders[0], retain_graph=True)[0].abs()
    pixels.sum().backward()
    assert worst(holders[1].grad, total) < 1e-9
