"""The antialiased mode: opacities times sqrt(det S / det S'), S' the footprint widened by 0.3."""

import math

import pytest
import torch
from diff_gaussian_rasterization import Painter, cpu, cuda, rasterize

from tests.submodules.diff_gaussian_rasterization.raster_scenes import (
    cast,
    draw_native,
    draw_twin,
    draw_with,
    inputs_of,
    random_scene,
    weights,
    with_gradients,
    worst,
)
from tests.submodules.diff_gaussian_rasterization.test_degenerate_inputs import (
    ROW,
    assert_row_is_not_drawn,
)
from tests.submodules.emulation import emulated

KINDS = {"sh": {}, "four channels": {"channels": 4}, "covariances": {"covariances": True}}
SIZES = (1.0, 0.2, 0.05)  # times some two pixels
DOT, Z = 20.0, 4.0  # focal length and depth of `dot`: five pixels to a world unit


def antialiased_scene(size=1.0, count=60, width=50, height=37, **kind):
    scene = random_scene(count, width, height, **kind) | {"antialiased": True}
    if scene["scales"] is None:
        return scene | {"covariances": size**2 * scene["covariances"]}
    return scene | {"scales": size * scene["scales"]}


def dot(pixels, opacity):
    """One Gaussian amid the middle of 9 x 9 pixels; `pixels` are its deviations x, y and z."""
    scales = [p * Z / DOT for p in pixels]
    scene = {
        "means": [[0, 0, Z]], "quats": [[1, 0, 0, 0]], "scales": [scales],
        "opacities": [[opacity]], "colors": [[1.0]], "viewmat": torch.eye(4).tolist(),
        "K": [[DOT, 0, 4.5], [0, DOT, 4.5], [0, 0, 1]]}  # fmt: skip
    scene = {k: torch.tensor(v, dtype=torch.float64) for k, v in scene.items()}
    return scene | {"width": 9, "height": 9, "antialiased": True}


def middle_alpha(x, y, opacity):
    """Of `dot`, by the definition."""
    return opacity * math.sqrt((x * y) ** 2 / ((x**2 + 0.3) * (y**2 + 0.3)))


@pytest.mark.parametrize("draw", [draw_native, draw_twin], ids=["native", "twin"])
@pytest.mark.parametrize(("x", "y"), [(3.0, 2.0), (0.5, 0.5), (0.1, 0.3), (0.05, 2.0), (0.1, 0.1)])
def test_the_middle_of_a_gaussian_has_the_alpha_of_the_definition(draw, x, y):
    image = draw(inputs_of(dot((x, y, 1.0), 0.9))._asdict())
    assert image[2][0, 4, 4].item() == pytest.approx(middle_alpha(x, y, 0.9), rel=1e-12)


def test_light_shrinks_with_a_gaussian_below_a_pixel():
    """The dilation spreads a Gaussian's light and adds none: the sum of alpha over the pixels is
    2 pi opacity sqrt(det S), as without dilation."""
    for size in (1.0, 0.5, 0.3):
        alpha = rasterize(**dot((size, size, size), 0.8)).alpha
        assert alpha.sum().item() == pytest.approx(2 * math.pi * 0.8 * size**2, rel=0.03)


def assert_agree(draw, scene, dtype, image_bound, gradient_bound):
    """`draw` in `dtype` against the twin in float64, on the very same rounded inputs."""
    scene = cast(scene, dtype)
    image, gradients = with_gradients(draw, scene)
    expected, truth = with_gradients(draw_twin, cast(scene, torch.float64))
    for found, other in zip(image[:3], expected[:3], strict=True):
        assert (found - other).abs().max() < image_bound
    # The twin knows which pixels were hit, a kernel only which tiles can be.
    assert torch.equal(image[3][expected[3] > 0], expected[3][expected[3] > 0])
    for name, gradient in gradients.items():
        assert worst(gradient, truth[name]) < gradient_bound, name


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_kernels_equal_the_twin(variant, kind, size):
    scene = antialiased_scene(size, **kind)
    assert (draw_twin(scene)[3] > 0).sum() > 20  # the scene does what the test is about
    assert_agree(draw_native, scene, torch.float64, 1e-13, 1e-12)
    assert_agree(draw_native, scene, torch.float32, 1e-5, 2e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_gpu_kernels_equal_the_twin(draw_cuda, kind, size):
    scene = antialiased_scene(size, **kind)
    assert_agree(draw_cuda, scene, torch.float64, 1e-13, 1e-12)
    assert_agree(draw_cuda, scene, torch.float32, 1e-5, 2e-5)


def test_needles_keep_their_thickness_in_float32(variant):
    scene = antialiased_scene(count=20)
    scene["scales"] = torch.tensor([10.0, 0.05, 0.02], dtype=torch.float64).expand(20, 3)
    assert_agree(draw_native, scene, torch.float32, 1e-4, 1000 * 2.0**-24)


@pytest.mark.parametrize("size", [1.0, 0.4])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_gradients_equal_finite_differences(variant, kind, size):
    scene = antialiased_scene(size, 7, 18, 13, **kind, seed=5)
    image_weights = weights(scene)
    image, gradients = with_gradients(draw_native, scene)
    assert (image[3] > 0).sum() > 3

    def loss(changed):
        out = draw_native(scene | changed)
        return sum((a * b).sum() for a, b in zip(out[:3], image_weights, strict=True)).item()

    for name, gradient in gradients.items():
        if name == "means2d":  # a holder: its value is not read
            continue
        numeric = torch.zeros_like(gradient)
        step = 1e-7 if name == "covariances" else 1e-6  # these are squares: some 1e-3
        for i in range(gradient.numel()):
            ends = []
            for sign in (1, -1):
                moved = scene[name].clone().contiguous()
                moved.view(-1)[i] += sign * step
                ends.append(loss({name: moved}))
            numeric.view(-1)[i] = (ends[0] - ends[1]) / (2 * step)
        assert worst(gradient, numeric) < 1e-6, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("axes", [(0, 0, 0), (1, 0, 0), (0, 0, 1)])
def test_a_row_without_area_draws_nothing(variant, dtype, axes):
    scene = cast(antialiased_scene(), dtype)
    scene["scales"][ROW] = torch.tensor(axes, dtype=dtype)
    assert_row_is_not_drawn(scene)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_covariance_without_area_draws_nothing(variant, dtype):
    scene = cast(antialiased_scene(covariances=True), dtype)
    scene["covariances"][ROW] = 0
    assert_row_is_not_drawn(scene)


@pytest.mark.parametrize("draw", [draw_native, draw_twin, draw_with(emulated(cuda.PROGRAM))])
def test_gradients_stay_finite_as_a_row_shrinks_to_nothing(draw):
    for exponent in (0, -1, -2, -3, -8, -20, -30, -44, -200):
        scene = cast(antialiased_scene(), torch.float32)
        scene["scales"][ROW] *= 10.0**exponent
        image, gradients = with_gradients(draw, scene)
        for x in (*image[:3], *gradients.values()):
            assert torch.isfinite(x).all()
    assert image[3][ROW] == 0
    assert all((g[ROW] == 0).all() for n, g in gradients.items() if len(g) == len(scene["means"]))


@pytest.mark.parametrize("draw", [draw_native, draw_twin], ids=["native", "twin"])
@pytest.mark.parametrize(("factor", "drawn"), [(1.001, True), (0.999, False)])
def test_a_row_is_drawn_where_its_compensated_alpha_reaches_1_255(draw, factor, drawn):
    """The opacity alone is far above; 0.3 pixels leave 3 / 13 of it."""
    side = math.sqrt(0.09)
    opacity = factor / 255 / middle_alpha(side, side, 1.0)
    image = draw(inputs_of(dot((side, side, 1.0), opacity))._asdict())
    assert (image[2][0, 4, 4] > 0).item() is (image[3][0] > 0).item() is drawn


def test_a_large_gaussian_hardly_changes():
    scene = antialiased_scene() | {"scales": torch.full((60, 3), 3.0, dtype=torch.float64)}
    plain = rasterize(**scene | {"antialiased": False})
    assert worst(rasterize(**scene).color, plain.color) < 1e-2


@pytest.mark.parametrize("draw", [draw_native, draw_twin], ids=["native", "twin"])
def test_off_is_the_default_and_on_makes_a_difference(draw):
    scene = antialiased_scene(0.2)
    on, off = (draw(scene | {"antialiased": value}) for value in (True, False))
    default = draw({k: v for k, v in scene.items() if k != "antialiased"})
    assert all(torch.equal(a, b) for a, b in zip(off, default, strict=True))
    assert (on[0] - off[0]).abs().max() > 0.1


@pytest.mark.usefixtures("restore_threads")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_results_do_not_depend_on_the_number_of_threads(variant, dtype):
    scene = cast(antialiased_scene(0.5, 3000, 150, 110, seed=2), dtype)
    results = []
    for threads in (1, 2, 3, 2):
        torch.set_num_threads(threads)
        image, gradients = with_gradients(draw_native, scene)
        results.append([*image, *gradients.values()])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gpu_pairs_and_radii_are_those_of_the_cpu(dtype):
    inputs = inputs_of(cast(antialiased_scene(0.5, 400, 131, 75), dtype))
    found, expected = cuda.forward(inputs, emulated(cuda.PROGRAM)), cpu.forward(inputs)
    for name in ("radii", "offsets", "pairs", "tiles"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name


def test_a_painter_follows_the_mode_from_frame_to_frame():
    scene = cast(antialiased_scene(0.3), torch.float32)
    painter = Painter(scene["width"], scene["height"])
    given = {k: v for k, v in scene.items() if k not in ("means2d", "width", "height")}
    for value in (True, False, True):
        found = painter.paint(**given | {"antialiased": value}).color
        assert torch.equal(found, rasterize(**scene | {"antialiased": value}).color)


def test_another_type_is_refused():
    with pytest.raises(TypeError, match="antialiased is str, expected bool"):
        rasterize(**antialiased_scene() | {"antialiased": "no"})
