"""`Painter` draws what `rasterize` draws, frame after frame, in the same memory."""

import pytest
import torch
from diff_gaussian_rasterization import cuda, rasterize, typed
from diff_gaussian_rasterization.painter import GpuBrush, Painter

from tests.submodules.diff_gaussian_rasterization.raster_scenes import (
    cast,
    inputs_of,
    random_scene,
)
from tests.submodules.emulation import emulated

IMAGE = ("color", "depth", "alpha", "radii")


def frames(count=5, **kind):
    """One scene seen from nearer and nearer."""
    for i in range(count):
        scene = cast(random_scene(300, 70, 50, **kind), torch.float32)
        scene["viewmat"][2, 3] = 14 - 3 * i
        yield scene


def paint(painter, scene):
    out = painter.paint(
        **{k: v for k, v in scene.items() if k not in ("means2d", "width", "height")}
    )
    return {name: getattr(out, name) for name in IMAGE}


def assert_paints_what_rasterize_draws(device, kind, count):
    painter = Painter(70, 50, kind.get("channels", 3))
    for scene in frames(count, **kind):
        scene = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in scene.items()}
        found, expected = paint(painter, scene), rasterize(**scene)
        for name, x in found.items():
            assert torch.equal(x, getattr(expected, name)), name


KINDS = {"sh": {}, "seven channels": {"channels": 7}, "covariances": {"covariances": True}}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_paints_what_rasterize_draws_on_the_cpu(kind):
    assert_paints_what_rasterize_draws("cpu", kind, 5)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_paints_what_rasterize_draws_on_a_gpu(kind):
    assert_paints_what_rasterize_draws("cuda", kind, 8)


def test_frames_share_their_memory_on_the_cpu():
    painter = Painter(70, 50)
    places = [{n: x.data_ptr() for n, x in paint(painter, s).items()} for s in frames()]
    assert all(place == places[0] for place in places)


def test_gaussians_and_settings_may_change_between_frames():
    painter = Painter(70, 50)
    base = next(iter(frames()))
    fewer = {
        k: v[:100] if isinstance(v, torch.Tensor) and len(v) == 300 else v for k, v in base.items()
    }
    for scene in (base, fewer, fewer | {"sh_degree": 1}, cast(base, torch.float64), base):
        found, expected = paint(painter, scene), rasterize(**scene)
        assert torch.equal(found["color"], expected.color)


def test_no_gradient_is_recorded():
    scene = next(iter(frames()))
    scene["means"].requires_grad_()
    assert not paint(Painter(70, 50), scene)["color"].requires_grad


def test_room_for_pairs_grows_and_the_picture_stays_whole():
    brush = GpuBrush(emulated(cuda.PROGRAM))
    capacities = []
    for scene in [*frames(), *frames(2)]:
        inputs = inputs_of(scene)
        expected = cuda.forward(inputs, emulated(cuda.PROGRAM))
        found = brush(inputs)
        for name in IMAGE:
            assert torch.equal(getattr(found, name), getattr(expected, name)), name
        capacities.append(brush.capacity)
    assert capacities == sorted(capacities)
    assert len(set(capacities)) > 2


def test_a_gpu_brush_refuses_a_wrong_camera():
    inputs = inputs_of(next(iter(frames())))
    with pytest.raises(ValueError, match="viewmat and K must be finite"):
        GpuBrush(emulated(cuda.PROGRAM))(inputs._replace(K=torch.zeros_like(inputs.K)))


@pytest.mark.filterwarnings("ignore:drawing with the slow")
def test_without_kernels_the_twin_paints(monkeypatch):
    monkeypatch.setattr(typed, "why_no_kernels", lambda device: "nothing was built")
    typed.backend.cache_clear()
    scene = next(iter(frames(1)))
    assert torch.equal(paint(Painter(70, 50), scene)["color"], rasterize(**scene).color)
    typed.backend.cache_clear()


def test_other_channels_are_refused():
    scene = cast(random_scene(channels=4), torch.float32)
    with pytest.raises(ValueError, match="this Painter has 3 channels, found 4"):
        paint(Painter(50, 37), scene)
