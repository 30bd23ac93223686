"""Pairs of tiles and Gaussians are counted before they are stored; too many are one clear error."""

import resource

import diff_gaussian_rasterization as package
import pytest
import torch
from diff_gaussian_rasterization import budget, cpu, cuda, native, rasterize
from diff_gaussian_rasterization.painter import CpuBrush, GpuBrush

from tests.submodules.diff_gaussian_rasterization.raster_scenes import (
    cast,
    draw_native,
    draw_twin,
    draw_with,
    inputs_of,
    random_scene,
    with_gradients,
    worst,
)
from tests.submodules.emulation import emulated
from utils.errors import run_command

CPU = torch.device("cpu")
SAID = r"pairs of tiles and Gaussians would take .* GiB, more than the .* GiB allowed"


@pytest.fixture
def allow():
    """Sets the budget; the one before is back when the test ends."""
    yield package.set_pair_budget
    package.set_pair_budget(None)


def filling(count=50, width=160, height=160):
    """Gaussians that each reach every one of 100 tiles."""
    scene = cast(random_scene(count, width, height), torch.float32)
    rows = {"means": torch.zeros(count, 3), "opacities": torch.full((count, 1), 0.5)}
    return scene | rows | {"scales": torch.full((count, 3), 10.0)}


def painted(scene):
    painter = package.Painter(scene["width"], scene["height"])
    return painter.paint(**{k: v for k, v in scene.items() if k not in ("means2d", *SIZE)})


SIZE = ("width", "height")
DRAWS = {
    "rasterize": draw_native,
    "Painter": painted,
    "GPU backend": draw_with(emulated(cuda.PROGRAM)),
    "GPU painter": lambda scene: GpuBrush(emulated(cuda.PROGRAM))(inputs_of(scene)),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_view_beyond_the_budget_is_refused_with_its_number(allow, draw):
    allow(100)
    with pytest.raises(package.OutOfMemoryError, match=f"^5,000 {SAID}"):
        draw(filling())


@pytest.mark.parametrize(
    ("draw", "kind", "each"),
    [(draw_native, "cpu", 12 + 1 + 4 * 16), (DRAWS["GPU backend"], "cuda", 12 + 4 * 12)],
)
def test_gradients_count_with_their_own_bytes(allow, draw, kind, each):
    pair = budget.PAIR_BYTES[kind]
    assert pair.kept + pair.adding() == each
    scene = filling()
    allow(5_000 * each)
    with_gradients(draw, scene)
    allow(5_000 * each - 1)
    draw(scene)
    with pytest.raises(package.OutOfMemoryError, match=f"^5,000 {SAID}"):
        with_gradients(draw, scene)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_the_count_of_the_last_view_can_be_read_even_when_it_was_refused(allow, draw):
    allow(100)
    with pytest.raises(package.OutOfMemoryError):
        draw(filling())
    assert budget.BUDGET.last == 50 * 100
    allow(0)
    draw(filling(count=20))
    assert budget.BUDGET.last == 20 * 100


def test_the_budget_is_exact(allow):
    allow(5_000 * 20)
    draw_native(filling())
    allow(5_000 * 20 - 1)
    with pytest.raises(package.OutOfMemoryError):
        draw_native(filling())


def test_refusing_a_hundred_million_pairs_stores_none_of_them():
    scene = filling(50_000, 800, 800) | {"sh": None, "colors": torch.ones(50_000, 3)}
    draw_native(scene | {"scales": torch.full((50_000, 3), 1e-3)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(package.OutOfMemoryError, match=r"^125,000,000 .* 2\.3 GiB"):
        draw_native(scene)
    taken = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert taken < 50, f"{taken:.0f} MiB"


def test_chunks_with_more_pairs_than_are_kept_equal_the_twin(variant):
    scene = random_scene(30, 400, 400)
    sizes = torch.linspace(0.02, 5, 30, dtype=torch.float64)[:, None]
    scene["scales"] = sizes * sizes.new_tensor([1.0, 0.6, 0.3])
    assert len(cpu.forward(inputs_of(scene)).pairs) > 16 * 512  # kMostKept of outline.h
    image, gradients = with_gradients(draw_native, scene)
    expected, truth = with_gradients(draw_twin, scene)
    assert all(worst(a, b) < 1e-12 for a, b in zip(image[:3], expected[:3], strict=True))
    assert all(worst(gradients[name], truth[name]) < 1e-10 for name in truth)


def test_zero_allows_any_number(allow):
    allow(0)
    assert budget.BUDGET.bytes_on(CPU) == 0
    draw_native(filling())
    budget.BUDGET.check(2**31, 48, CPU)


def test_the_environment_sets_the_budget_and_a_call_overrules_it(allow, monkeypatch):
    assert budget.BUDGET.bytes_on(CPU) == 2 * 2**30
    monkeypatch.setenv(budget.VARIABLE, "1000")
    assert budget.BUDGET.bytes_on(CPU) == 1000
    allow(2000)
    assert budget.BUDGET.bytes_on(CPU) == 2000


def test_a_wrong_budget_is_named(monkeypatch):
    for value in (-1, 0.5, "1"):
        with pytest.raises(ValueError, match="expected bytes, 0 or None"):
            package.set_pair_budget(value)
    monkeypatch.setenv(budget.VARIABLE, "2 GiB")
    with pytest.raises(ValueError, match=f"{budget.VARIABLE} is '2 GiB', expected bytes"):
        rasterize(**random_scene())


def test_more_pairs_than_slots_have_numbers_are_refused(allow, monkeypatch):
    allow(0)
    monkeypatch.setattr(native, "call", lambda name, scene, state, image, allocate: fail(allocate))

    def fail(allocate):
        assert allocate(2**32) is None
        raise MemoryError

    with pytest.raises(ValueError, match=r"more than 2\^32 pairs"):
        draw_native(random_scene())


def test_a_command_says_it_in_one_line_with_the_remedies(allow, capsys):
    allow(100)
    with pytest.raises(SystemExit) as end:
        run_command(lambda: draw_native(filling()), debug=False)
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert said.startswith("error: 5,000 pairs of tiles and Gaussians would take")
    assert "--max_gaussians" in said
    assert "smaller pictures" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("brush", [CpuBrush(), GpuBrush(emulated(cuda.PROGRAM))])
def test_a_painter_gives_back_the_room_of_a_crowded_frame(monkeypatch, brush):
    monkeypatch.setattr(budget, "MANY", 100)
    few = filling() | {"scales": torch.full((50, 3), 1e-3)}
    for scene, room in ((filling(), 6250), (filling(), 6250), (few, 1000), (few, 1000)):
        brush(inputs_of(scene))
        found = brush.capacity if isinstance(brush, GpuBrush) else len(brush._room.pairs)
        assert found == room if room > 1000 else found < room


def test_a_painter_gives_back_the_old_room_before_it_takes_more():
    brush = CpuBrush()
    room = brush(inputs_of(filling() | {"scales": torch.full((50, 3), 1e-3)})).pairs
    assert room.numel() > 0
    picture = brush(inputs_of(filling())).color.clone()
    assert room.numel() == 0
    assert torch.equal(picture, CpuBrush()(inputs_of(filling())).color)
