"""Numbers of any size in any place: nothing crashes, and what is not finite is not drawn."""

import math

import pytest
import torch
from diff_gaussian_rasterization import (
    GaussianRasterizationSettings,
    GaussianRasterizer,
    Painter,
    rasterize,
)

from tests.submodules.diff_gaussian_rasterization.raster_scenes import (
    cast,
    draw_native,
    draw_twin,
    random_scene,
    with_gradients,
    worst,
)

NUMBERS = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-45, -1e-38, 1e-20, 1e19, -1e19, 1e30, 3e38,
           -3e38, 1.0]  # fmt: skip
ROWS = ("means", "quats", "scales", "opacities", "sh", "colors", "covariances")
KINDS = {"sh": {}, "five channels": {"channels": 5}, "covariances": {"covariances": True}}


def hostile_scene(seed, dtype, **kind):
    """Two rows of three as they were; in the others a few numbers are from `NUMBERS`."""
    scene = cast(random_scene(90, 53, 41, seed=seed, **kind), dtype)
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.tensor(NUMBERS, dtype=torch.float64).to(dtype)
    for name in ROWS:
        if (x := scene.get(name)) is not None:
            chance = 0.5 / x[0].numel()
            chosen = torch.rand(x.shape, generator=generator) < chance
            chosen[torch.arange(len(x)) % 3 > 0] = False
            which = torch.randint(len(numbers), x.shape, generator=generator)
            scene[name] = torch.where(chosen, numbers[which], x)
    return scene


def without_odd_rows(scene):
    """The same but for rows with NaN or Inf."""
    rows = [scene[name] for name in ROWS if scene.get(name) is not None]
    good = torch.stack([x.isfinite().flatten(1).all(1) for x in rows]).all(0)
    kept = {n: x[good] for n, x in scene.items() if n in (*ROWS, "means2d") and x is not None}
    return scene | kept, good


def assert_odd_rows_change_nothing(draw, scene):
    image, gradients = with_gradients(draw, scene)
    fewer, good = without_odd_rows(scene)
    expected, truth = with_gradients(draw, fewer)
    assert (image[3][~good] == 0).all()
    assert ((image[2] >= 0) & (image[2] <= 1)).all()
    for found, other in zip(image[:3], expected[:3], strict=True):
        assert torch.equal(found.nan_to_num(7), other.nan_to_num(7))
    for name, gradient in gradients.items():
        if len(gradient) == len(good) and gradient.dim() > 1:
            assert (gradient[image[3] == 0] == 0).all(), name
            assert torch.equal(gradient[good].nan_to_num(7), truth[name].nan_to_num(7)), name


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_that_are_not_finite_change_no_bit_of_the_others(variant, dtype, kind):
    for seed in range(12):
        assert_odd_rows_change_nothing(draw_native, hostile_scene(seed, dtype, **kind))


CAMERAS = {
    "almost no focal length": {(0, 0): 1e-38, (1, 1): 1e-38},
    "a vast focal length": {(0, 0): 3e38, (1, 1): 3e38},
    "one axis": {(0, 0): 1e-30, (1, 1): 1e30},
    "a principal point far off": {(0, 2): 3e38, (1, 2): -3e38},
    "nothing but the edge": {(0, 2): -1e19},
}


@pytest.mark.parametrize("changes", CAMERAS.values(), ids=CAMERAS)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_extreme_cameras_draw_something_defined(variant, kind, changes):
    scene = cast(random_scene(**kind), torch.float32)
    for place, value in changes.items():
        scene["K"][place] = value
    image, _ = with_gradients(draw_native, scene)
    assert all(x.isfinite().all() for x in image[:3])


def far_away(dtype):
    """Gaussians that fill the picture from 1e30 units away."""
    scene = cast(random_scene(), dtype)
    return scene | {
        "viewmat": torch.eye(4, dtype=dtype),
        "means": scene["means"].new_tensor([[0, 0, 1e30]]).repeat(60, 1),
        "scales": torch.full_like(scene["scales"], 1e29),
        "opacities": torch.full_like(scene["opacities"], 0.5),
    }


def assert_far_away_is_drawn(draw, dtype, far):
    image, _ = with_gradients(draw, far_away(dtype) | {"far": far})
    assert (image[3] > 0).all()
    assert image[0].isfinite().all()
    assert image[2].max() > 0.9
    assert (draw(far_away(dtype) | {"far": 1e29})[3] == 0).all()


@pytest.mark.parametrize("far", [math.inf, 1e300, 3e38])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_a_far_plane_the_farthest_gaussian_is_drawn(variant, dtype, far):
    assert_far_away_is_drawn(draw_native, dtype, far)


@pytest.mark.parametrize("far", [math.inf, 1e300])
def test_without_a_far_plane_the_farthest_gaussian_is_drawn_by_a_gpu(draw_cuda, far):
    assert_far_away_is_drawn(draw_cuda, torch.float32, far)


def test_rows_that_are_not_finite_change_no_bit_of_a_gpus_others(draw_cuda):
    assert_odd_rows_change_nothing(draw_cuda, hostile_scene(0, torch.float32))


def test_without_a_far_plane_the_picture_is_that_of_a_far_one(variant):
    scene = random_scene()
    expected, truth = with_gradients(draw_native, scene | {"far": 1e9})
    image, gradients = with_gradients(draw_native, scene | {"far": math.inf})
    assert all(torch.equal(a, b) for a, b in zip(image, expected, strict=True))
    assert all(torch.equal(gradients[name], truth[name]) for name in truth)
    assert worst(image[0], draw_twin(scene | {"far": math.inf})[0]) < 1e-12


def test_the_interface_of_3dgs_has_no_far_plane():
    scene = far_away(torch.float32)
    full = torch.tensor([[2.0, 0, 0, 0], [0, 2, 0, 0], [0, 0, 1, 1], [0, 0, -0.01, 0]])
    settings = GaussianRasterizationSettings(
        37, 50, 0.5, 0.5, torch.zeros(3), 1.0, torch.eye(4), full, 3, torch.zeros(3), False
    )
    color, radii = GaussianRasterizer(settings)(
        scene["means"], None, scene["opacities"], shs=scene["sh"], scales=scene["scales"],
        rotations=scene["quats"])  # fmt: skip
    assert (radii > 0).all()
    assert color.isfinite().all()


@pytest.mark.parametrize(
    ("near", "far"), [(-1.0, 100.0), (math.nan, 100.0), (0.01, math.nan), (math.inf, math.inf)]
)
def test_planes_in_no_order_are_refused(near, far):
    scene = random_scene()
    with pytest.raises(ValueError, match=r"near is .* and far .*, expected 0 <= near < far"):
        rasterize(**scene, near=near, far=far)
    rest = {k: v for k, v in scene.items() if k not in ("means2d", "width", "height")}
    with pytest.raises(ValueError, match="expected 0 <= near < far"):
        Painter(50, 37).paint(**rest, near=near, far=far)


@pytest.mark.parametrize("size", [(32768, 1), (1, 32768), (32768, 17)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e30])
def test_the_widest_and_highest_pictures_are_drawn(variant, size, scale):
    scene = cast(random_scene(20, *size), torch.float32)
    scene["K"] = torch.tensor([[9e3, 0, size[0] / 2], [0, 9e3, size[1] / 2], [0, 0, 1]])
    scene["scales"] = torch.full((20, 3), scale)
    image, gradients = with_gradients(draw_native, scene)
    assert all(x.isfinite().all() for x in (*image[:3], *gradients.values()))


@pytest.mark.parametrize(("width", "height"), [(32769, 1), (1, -1), (2**40, 1)])
def test_impossible_sizes_are_refused(width, height):
    with pytest.raises(ValueError, match="expected 1 to 32768 pixels"):
        rasterize(**random_scene() | {"width": width, "height": height})
