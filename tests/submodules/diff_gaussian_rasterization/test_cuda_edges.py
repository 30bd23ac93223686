"""The GPU backend with rows that cannot be drawn, empty scenes, odd sizes and wrong cameras."""

import math

import pytest
import torch
from diff_gaussian_rasterization import budget, cuda, typed

from tests.submodules.diff_gaussian_rasterization.raster_scenes import (
    cast,
    draw_native,
    draw_twin,
    inputs_of,
    random_scene,
    with_gradients,
    worst,
)
from tests.submodules.diff_gaussian_rasterization.test_degenerate_inputs import ROW, without_row


def assert_row_is_not_drawn(draw, scene):
    image, gradients = with_gradients(draw, scene)
    fewer, keep = without_row(scene)
    expected_image, expected = with_gradients(draw, fewer)
    assert image[3][ROW] == 0
    for found, truth in zip(image[:3], expected_image[:3], strict=True):
        assert torch.equal(found, truth)
    for name, gradient in gradients.items():
        if len(gradient) == len(keep):
            assert (gradient[ROW] == 0).all(), name
            assert torch.equal(gradient[keep], expected[name]), name
        else:
            assert torch.isfinite(gradient).all(), name


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "name", ["means", "quats", "scales", "opacities", "sh", "colors", "covariances"]
)
def test_a_row_with_nan_or_inf_is_not_drawn(draw_cuda, name, value):
    kind = {"colors": {"channels": 3}, "covariances": {"covariances": True}}.get(name, {})
    scene = cast(random_scene(**kind), torch.float32)
    scene[name][ROW].view(-1)[0] = value
    assert_row_is_not_drawn(draw_cuda, scene)


@pytest.mark.parametrize(
    ("name", "value"),
    [("quats", 0.0), ("opacities", 0.0), ("opacities", 0.9 / 255), ("opacities", -1.0)],
)
def test_a_row_without_rotation_or_light_is_not_drawn(draw_cuda, name, value):
    scene = random_scene()
    scene[name][ROW] = value
    assert_row_is_not_drawn(draw_cuda, scene)


@pytest.mark.parametrize("z", [-5.0, 0.0, 0.005, 101.0])
def test_a_gaussian_outside_the_depth_range_is_not_drawn(draw_cuda, z):
    scene = random_scene()
    point = torch.tensor([0, 0, z, 1], dtype=torch.float64)
    scene["means"][ROW] = torch.linalg.solve(scene["viewmat"], point)[:3]
    assert_row_is_not_drawn(draw_cuda, scene)


def test_zero_scales_draw_the_dilated_dot(draw_cuda):
    scene = random_scene()
    scene["scales"] = torch.zeros_like(scene["scales"])
    image, gradients = with_gradients(draw_cuda, scene)
    expected, truth = with_gradients(draw_twin, scene)
    assert (image[3] > 0).any()
    assert worst(image[0], expected[0]) < 1e-13
    assert worst(gradients["means"], truth["means"]) < 1e-12


@pytest.mark.parametrize("scale", [1e2, 1e4, 1e12, 1e30])
def test_huge_scales_leave_everything_finite(draw_cuda, scale):
    scene = cast(random_scene(), torch.float32)
    scene["scales"][ROW] = scale
    image, gradients = with_gradients(draw_cuda, scene)
    for x in (*image[:3], *gradients.values()):
        assert torch.isfinite(x).all()
    if scale <= 1e4:  # fills the image; far beyond, float32 cannot hold its shape
        assert image[3][ROW] > 0


@pytest.mark.parametrize("size", [(1, 1), (15, 17), (16, 16), (33, 1)])
@pytest.mark.parametrize("count", [0, 1, 257])
def test_any_count_and_size_equals_the_twin(draw_cuda, count, size):
    scene = random_scene(count, *size)
    image, gradients = with_gradients(draw_cuda, scene)
    expected, truth = with_gradients(draw_twin, scene)
    for found, other in zip(image[:3], expected[:3], strict=True):
        assert worst(found, other) < 1e-12
    for name, gradient in gradients.items():
        other = torch.zeros_like(gradient) if truth[name] is None else truth[name]
        assert worst(gradient, other) < 1e-11, name


@pytest.mark.parametrize("count", [0, 40])
def test_nothing_visible_is_the_background(draw_cuda, count):
    scene = random_scene(count)
    scene["means"] = scene["means"] + torch.tensor([0, 0, -50.0])
    image, gradients = with_gradients(draw_cuda, scene)
    assert torch.equal(image[0], scene["background"][:, None, None].expand_as(image[0]))
    assert image[1].abs().max() == image[2].abs().max() == 0
    assert all((g == 0).all() for name, g in gradients.items() if name != "background")


def test_gaussians_of_equal_depth_blend_in_row_order(draw_cuda):
    scene = random_scene(3, 20, 20)
    scene["means"] = torch.zeros(3, 3, dtype=torch.float64)
    assert worst(draw_cuda(scene)[0], draw_twin(scene)[0]) < 1e-13


def test_without_background_nothing_lies_behind(draw_cuda):
    scene = random_scene() | {"background": None}
    assert worst(draw_cuda(scene)[0], draw_twin(scene)[0]) < 1e-13


def test_inputs_need_not_be_contiguous(draw_cuda):
    scene = random_scene()
    strided = {
        k: v.movedim(0, -1).contiguous().movedim(-1, 0) if isinstance(v, torch.Tensor) else v
        for k, v in scene.items()
    }
    expected = draw_cuda(scene)[0]
    assert torch.equal(draw_cuda(strided)[0], expected)
    flat = scene | {"opacities": scene["opacities"][:, 0]}
    assert torch.equal(draw_cuda(flat)[0], expected)


@pytest.mark.parametrize("count", [0, 60])
@pytest.mark.parametrize(
    ("name", "row", "column", "value"),
    [("viewmat", 1, 2, math.nan), ("K", 0, 0, 0.0), ("K", 1, 1, -1.0), ("K", 2, 2, math.inf)],
)
def test_a_wrong_camera_is_refused(draw_cuda, name, row, column, value, count):
    scene = random_scene(count)
    scene[name][row, column] = value
    with pytest.raises(ValueError, match="viewmat and K must be finite"):
        draw_cuda(scene)


def test_more_pairs_than_a_sort_takes_are_refused(monkeypatch):
    monkeypatch.setenv(budget.VARIABLE, "0")
    with pytest.raises(ValueError, match=r"more than 2\^31 pairs"):
        cuda.check_pairs(2**31, torch.device("cpu"))


def test_a_gpu_without_kernels_draws_on_the_cpu_with_one_warning(monkeypatch):
    typed.backend.cache_clear()
    reason = "this card is older than the wheels support"
    real = typed.why_no_kernels
    monkeypatch.setattr(typed, "why_no_kernels", lambda d: reason if d.type == "cuda" else real(d))
    with pytest.warns(UserWarning, match=f"drawing on the CPU.*{reason}") as record:
        draws = [typed.backend(torch.device("cuda", 0)) for _ in range(2)]
    typed.backend.cache_clear()
    assert len(record) == 1
    scene = random_scene()
    image, gradients = with_gradients(lambda s: draws[0](*inputs_of(s)), scene)
    expected, truth = with_gradients(draw_native, scene)
    assert all(torch.equal(a, b) for a, b in zip(image, expected, strict=True))
    assert all(torch.equal(gradients[name], truth[name]) for name in truth)
