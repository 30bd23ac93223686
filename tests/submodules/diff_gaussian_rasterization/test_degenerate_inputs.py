"""Rows that cannot be drawn are left out and harm nobody; wrong arguments are named."""

import math

import pytest
import torch
from diff_gaussian_rasterization import layout, ops, rasterize

from tests.submodules.diff_gaussian_rasterization.raster_scenes import (
    cast,
    draw_native,
    draw_twin,
    inputs_of,
    random_scene,
    with_gradients,
    worst,
)

ROW = 7


def without_row(scene):
    keep = torch.arange(len(scene["means"])) != ROW
    rows = ("means", "quats", "scales", "opacities", "sh", "colors", "means2d", "covariances")
    return {k: v[keep] if k in rows and v is not None else v for k, v in scene.items()}, keep


def assert_row_is_not_drawn(scene):
    image, gradients = with_gradients(draw_native, scene)
    fewer, keep = without_row(scene)
    expected_image, expected = with_gradients(draw_native, fewer)
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
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_row_with_nan_or_inf_is_not_drawn(variant, dtype, name, value):
    kind = {"colors": {"channels": 5}, "covariances": {"covariances": True}}.get(name, {})
    scene = cast(random_scene(**kind), dtype)
    scene[name][ROW].view(-1)[0] = value
    assert_row_is_not_drawn(scene)


@pytest.mark.parametrize(
    ("name", "value"),
    [("quats", 0.0), ("opacities", 0.0), ("opacities", 0.9 / 255), ("opacities", -1.0)],
)
def test_a_row_without_rotation_or_light_is_not_drawn(name, value):
    scene = random_scene()
    scene[name][ROW] = value
    assert_row_is_not_drawn(scene)


@pytest.mark.parametrize("z", [-5.0, 0.0, 0.005, 101.0])
def test_a_gaussian_outside_the_depth_range_is_not_drawn(z):
    scene = random_scene()
    scene["means"][ROW] = torch.linalg.solve(
        scene["viewmat"], torch.tensor([0, 0, z, 1], dtype=torch.float64)
    )[:3]
    assert_row_is_not_drawn(scene)


def test_zero_scales_draw_the_dilated_dot():
    scene = random_scene()
    scene["scales"] = torch.zeros_like(scene["scales"])
    image, gradients = with_gradients(draw_native, scene)
    expected, truth = with_gradients(draw_twin, scene)
    assert (image[3] > 0).any()
    assert worst(image[0], expected[0]) < 1e-13
    assert worst(gradients["means"], truth["means"]) < 1e-12


@pytest.mark.parametrize("scale", [1e2, 1e4, 1e12, 1e30])
def test_huge_scales_leave_everything_finite(variant, scale):
    scene = cast(random_scene(), torch.float32)
    scene["scales"][ROW] = scale
    image, gradients = with_gradients(draw_native, scene)
    for x in (*image[:3], *gradients.values()):
        assert torch.isfinite(x).all()
    if scale <= 1e4:  # fills the image; far beyond, float32 cannot hold its shape
        assert image[3][ROW] > 0


@pytest.mark.parametrize("size", [(1, 1), (15, 17), (16, 16), (33, 1)])
@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 513])
def test_any_count_and_size_equals_the_twin(count, size):
    scene = random_scene(count, *size)
    image, gradients = with_gradients(draw_native, scene)
    expected, truth = with_gradients(draw_twin, scene)
    for found, other in zip(image[:3], expected[:3], strict=True):
        assert worst(found, other) < 1e-12
    for name, gradient in gradients.items():
        other = torch.zeros_like(gradient) if truth[name] is None else truth[name]
        assert worst(gradient, other) < 1e-11, name


@pytest.mark.parametrize("count", [0, 40])
def test_nothing_visible_is_the_background(count):
    scene = random_scene(count)
    scene["means"] = scene["means"] + torch.tensor([0, 0, -50.0])
    image, gradients = with_gradients(draw_native, scene)
    assert torch.equal(image[0], scene["background"][:, None, None].expand_as(image[0]))
    assert image[1].abs().max() == image[2].abs().max() == 0
    assert all((g == 0).all() for name, g in gradients.items() if name != "background")


def test_gaussians_of_equal_depth_blend_in_row_order():
    scene = random_scene(3, 20, 20)
    scene["means"] = torch.zeros(3, 3, dtype=torch.float64)
    assert worst(draw_native(scene)[0], draw_twin(scene)[0]) < 1e-13


def test_inputs_need_not_be_contiguous():
    scene = random_scene()
    strided = {
        k: v.movedim(0, -1).contiguous().movedim(-1, 0) if isinstance(v, torch.Tensor) else v
        for k, v in scene.items()
    }
    assert torch.equal(draw_native(strided)[0], draw_native(scene)[0])
    assert torch.equal(
        draw_native(scene | {"opacities": scene["opacities"][:, 0]})[0], draw_native(scene)[0]
    )


WRONG = {
    "means shape": (
        "means",
        torch.zeros(60, 2, dtype=torch.float64),
        ValueError,
        r"means.*\(60, 2\).*\(N, 3\)",
    ),
    "quats rows": (
        "quats",
        torch.zeros(59, 4, dtype=torch.float64),
        ValueError,
        r"quats.*\(59, 4\).*\(60, 4\)",
    ),
    "opacities": (
        "opacities",
        torch.zeros(60, 2, dtype=torch.float64),
        ValueError,
        r"opacities.*\(60, 1\)",
    ),
    "dtype": (
        "scales",
        torch.zeros(60, 3),
        TypeError,
        "scales has dtype torch.float32, expected torch.float64",
    ),
    "half": (
        "means",
        torch.zeros(60, 3, dtype=torch.float16),
        TypeError,
        "means has dtype torch.float16",
    ),
    "type": ("sh", [1, 2], TypeError, "sh is list"),
    "device": (
        "sh",
        torch.zeros(60, 16, 3, dtype=torch.float64, device="meta"),
        TypeError,
        "sh is on meta",
    ),
    "no colour": ("sh", None, ValueError, "neither of sh and colors"),
    "both": (
        "colors",
        torch.zeros(60, 3, dtype=torch.float64),
        ValueError,
        "both of sh and colors",
    ),
    "bases": (
        "sh",
        torch.zeros(60, 9, 3, dtype=torch.float64),
        ValueError,
        "9 bases, expected at least 16",
    ),
    "degree": ("sh_degree", 4, ValueError, "sh_degree is 4, expected 0 to 3"),
    "no shape": ("quats", None, ValueError, "either quats and scales or covariances"),
    "background": (
        "background",
        torch.zeros(4, dtype=torch.float64),
        ValueError,
        r"background.*\(4,\).*\(3,\)",
    ),
    "width": ("width", 0, ValueError, "width is 0"),
    "float width": ("width", 5.0, TypeError, "width is float"),
    "near": ("near", 200.0, ValueError, "near is 200.0 and far 100.0"),
    "viewmat": (
        "viewmat",
        torch.zeros(3, 4, dtype=torch.float64),
        ValueError,
        r"viewmat.*\(3, 4\).*\(4, 4\)",
    ),
    "NaN viewmat": (
        "viewmat",
        torch.full((4, 4), math.nan, dtype=torch.float64),
        ValueError,
        "must be finite",
    ),
    "no focal": ("K", torch.zeros(3, 3, dtype=torch.float64), ValueError, r"K\[0, 0\] > 0"),
}


@pytest.mark.parametrize(("name", "value", "error", "text"), WRONG.values(), ids=WRONG)
def test_a_wrong_argument_is_named(name, value, error, text):
    with pytest.raises(error, match=text):
        rasterize(**(random_scene() | {name: value}))


def test_empty_colors_are_refused():
    scene = random_scene(channels=3) | {"colors": torch.zeros(60, 0, dtype=torch.float64)}
    with pytest.raises(ValueError, match="at least one channel"):
        rasterize(**scene)


@pytest.mark.long
def test_operators_keep_torch_contracts():
    arguments = list(inputs_of(random_scene(8)))
    for tensor in arguments[: len(layout.DIFFERENTIABLE)]:
        if tensor is not None:
            tensor.requires_grad_()
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(ops.forward.overload, arguments, test_utils=tests)
