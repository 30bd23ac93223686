"""The scenes of balls against facts known without their renderer: cones, paths, times, volumes."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from scripts import make_demo_data as script
from scripts.data_doctor.checks import problems
from scripts.demo.movers.rig import make_views
from scripts.demo.movers.scenes import SCENES, radius_of_halves, scene
from scripts.demo.movers.stage import REACH, draw_colors
from tests.scene.datasets.reading import read

pytestmark = pytest.mark.long

SIZE = 48
COUNTS = {"train": 12, "val": 2, "test": 3}
SEEDS = range(4)
TIMES = np.linspace(0, 1, 43)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Every scene, small; a name gives its folder."""
    out = tmp_path_factory.mktemp("scenes")
    for name in SCENES:
        settings = script.DemoSettings(scene=name, width=SIZE, **COUNTS)
        assert script.make_demo_data(out / name, settings, workers=1)
    return out


def pictures(folder):
    """(truth, camera-to-world, picture RGBA, mask) of every picture."""
    frames, fov_x = {}, 0.0
    for split in COUNTS:
        content = json.loads((folder / f"transforms_{split}.json").read_text())
        frames |= {frame["file_path"]: frame for frame in content["frames"]}
        fov_x = content["camera_angle_x"]
    assert fov_x == pytest.approx(np.radians(50))
    entries = json.loads((folder / "truth.json").read_text())["frames"]
    assert {entry["file_path"] for entry in entries} == set(frames)
    for entry in entries:
        frame = frames[entry["file_path"]]
        assert entry["time"] == frame["time"]
        image, mask = (
            cv2.imread(str(folder / f"{entry[key]}.png"), cv2.IMREAD_UNCHANGED)
            for key in ("file_path", "mask_path")
        )
        c2w = np.array(frame["transform_matrix"])
        yield entry, c2w, cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA), mask


def cone(mover, c2w):
    """Share of each pixel inside the cone of a ball, sin² = r² / d², by a pinhole of 50 degrees."""
    side = ((np.arange(4 * SIZE) + 0.5) / (4 * SIZE) * 2 - 1) * np.tan(np.radians(25))
    x, y = np.meshgrid(side, -side)
    rays = np.stack([x, y, -np.ones_like(x)], -1) @ c2w[:3, :3].T
    to = np.array(mover["center"]) - c2w[:3, 3]
    cosine = rays @ to / np.linalg.norm(rays, axis=-1) / np.linalg.norm(to)
    inside = cosine > np.sqrt(1 - mover["radius"] ** 2 / (to @ to))
    return inside.reshape(SIZE, 4, SIZE, 4)


def project(point, c2w):
    """Pixel (row, column) of a world point."""
    x, y, z, _ = np.linalg.inv(c2w) @ np.append(point, 1.0)
    focal = 0.5 * SIZE / np.tan(np.radians(25))
    return int(SIZE / 2 + focal * y / z), int(SIZE / 2 - focal * x / z)


@pytest.mark.parametrize("name", SCENES)
def test_masks_are_the_cones_of_the_truth_but_for_what_stands_before_them(name, folders):
    whole, views = 0, 0
    for entry, c2w, _, mask in pictures(folders / name):
        inside = np.logical_or.reduce([cone(mover, c2w) for mover in entry["movers"]])
        share = np.floor(inside.mean((1, 3)) * 255 + 0.5)
        # A ray at the rim falls on either side by rounding: one of sixteen, 16 of 255.
        assert (mask <= share + 16).all(), entry["file_path"]
        whole += np.abs(mask - share).max() <= 16
        views += 1
    assert views == sum(COUNTS.values())
    assert whole >= views / 3


@pytest.mark.parametrize("name", [name for name in SCENES if name != "texture"])
def test_a_mover_has_its_colour_where_its_centre_is_seen(name, folders):
    code = draw_colors(np.random.default_rng([0, *name.encode()]))[0]
    strongest = int(np.argmax(list(bytes.fromhex(code))))
    shown = 0
    for entry, c2w, image, mask in pictures(folders / name):
        for mover in entry["movers"]:
            row, column = project(mover["center"], c2w)
            if 0 <= row < SIZE and 0 <= column < SIZE and mask[row, column] == 255:
                color = image[row, column, :3].astype(int)
                assert color.argmax() == strongest
                assert color.max() - color.min() > 40, entry["file_path"]
                shown += 1
    assert shown >= 8


def test_a_wall_hides_its_ball_from_some_cameras_and_not_from_others(folders):
    hidden = seen = 0
    for entry, c2w, _, mask in pictures(folders / "occlusion"):
        (mover,) = entry["movers"]
        share = cone(mover, c2w).mean()
        hidden += mask.sum() / 255 < 0.2 * share * SIZE**2
        seen += mask.sum() / 255 > 0.95 * share * SIZE**2
    assert hidden >= 1
    assert seen >= 4


@pytest.mark.parametrize("name", SCENES)
def test_nothing_that_moves_enters_what_stands_still(name):
    for seed in SEEDS:
        found = scene(name, seed)
        for time in TIMES:
            for mover in found.movers(time):
                radius = mover.half[0]
                assert mover.center[2] >= radius - 1e-9, "it stays above the floor"
                assert np.hypot(*mover.center[:2]) + radius <= REACH
                for thing in found.still[1:]:
                    local = thing.pose[:3, :3].T @ (mover.center - thing.center)
                    outside = np.maximum(np.abs(local) - thing.half, 0)
                    assert np.linalg.norm(outside) > radius, (seed, time, thing.name)


def test_a_fast_ball_moves_by_its_size_every_few_moments_and_is_small():
    times = np.linspace(0, 1, 84)
    for seed in SEEDS:
        balls = [scene("fast", seed).movers(time)[0] for time in times]
        steps = np.linalg.norm(np.diff([ball.center for ball in balls], axis=0), axis=1)
        size = 2 * balls[0].half[0]
        assert 2 < size / steps.mean() < 5
        assert size / steps.min() < 20, "it never stops"
        assert 0.005 < np.pi / 6 * size**3 / (2 * REACH) ** 3 < 0.015


def test_a_ball_grows_to_four_times_its_width():
    radii = [scene("scale", 1).movers(time)[0].half[0] for time in np.linspace(0, 1, 401)]
    assert max(radii) / min(radii) == pytest.approx(4, rel=1e-3)


def test_a_rolling_ball_does_not_slip():
    """The piece of the ball that touches the floor is at rest; one on top moves."""
    found, step = scene("texture", 2), 1e-6
    for time in TIMES[1:-1]:
        (ball,) = found.movers(time)
        for height, still in ((-1, True), (1, False)):
            local = ball.pose[:3, :3].T @ [0, 0, height * ball.half[0]]
            before, after = (
                moved.pose[:3, :3] @ local + moved.center
                for moved in (found.movers(time - step)[0], found.movers(time + step)[0])
            )
            speed = np.linalg.norm(after - before) / (2 * step)
            assert speed < 1e-3 if still else speed > 10


def test_a_ball_that_divides_keeps_its_volume():
    x = np.linspace(-3, 3, 20_001)
    for apart in (0, 0.1, 0.5, 0.9, 1.5):
        radius = radius_of_halves(0.6, apart)
        slices = np.maximum(radius**2 - (np.abs(x) - apart / 2) ** 2, 0)
        volume = np.pi * slices.sum() * (x[1] - x[0])
        assert volume == pytest.approx(4 / 3 * np.pi * 0.6**3, rel=1e-4)
    for seed in SEEDS:
        halves = scene("split", seed).movers
        apart = [
            np.linalg.norm(np.subtract(*[half.center for half in halves(time)]))
            for time in (0, 0.5, 1)
        ]
        assert apart[0] == pytest.approx(0, abs=1e-9)
        assert apart[1] > 3 * halves(0.5)[0].half[0]
        assert apart[2] == pytest.approx(0, abs=1e-9)


def test_twins_are_alike_and_swap_places_without_touching():
    for seed in SEEDS:
        movers = scene("twins", seed).movers
        for time in TIMES / 2:
            (a, b), (c, d) = movers(time), movers(time + 0.5)
            assert np.allclose([a.center, b.center], [d.center, c.center])
            assert a.half[0] == b.half[0]
            assert a.paint is b.paint
            assert np.linalg.norm(a.center - b.center) > 2 * a.half[0]


def test_each_moment_has_one_camera_of_twelve_and_held_out_ones_another():
    views = make_views({"train": 84, "val": 14, "test": 14}, seed=0)
    train, held = views[:84], views[84:]
    assert [view.time for view in train] == pytest.approx(np.linspace(0, 1, 84))
    for first in range(0, 84, 12):
        assert len({str(view.c2w) for view in train[first : first + 12]}) == 12
    assert len({str(view.c2w) for view in views}) == 12
    assert len(held) == 28
    for view in held:
        near = [t for t in train if abs(t.time - view.time) < 1 / 83]
        assert len(near) == 2
        assert not any(np.array_equal(view.c2w, t.c2w) for t in near)


@pytest.mark.parametrize("name", SCENES)
def test_the_reader_finds_the_times_and_the_doctor_no_problem(name, folders):
    found = read("dnerf", folders / name)
    entries = json.loads((folders / name / "truth.json").read_text())["frames"]
    for split in COUNTS:
        times = [e["time"] for e in entries if e["file_path"].startswith(f"./{split}/")]
        assert [frame.time for frame in found.split(split)] == pytest.approx(times)
    assert problems(found) == []


def test_same_seed_same_bytes_other_seed_other_scene(tmp_path):
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        settings = script.DemoSettings("split", width=16, train=3, val=1, test=1, seed=seed)
        script.make_demo_data(tmp_path / folder, settings, workers=1)
    names = [p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file()]
    assert len(names) == 16
    same, other = (
        [(tmp_path / "a" / n).read_bytes() == (tmp_path / folder / n).read_bytes() for n in names]
        for folder in ("b", "c")
    )
    assert all(same)
    assert not any(other)


def test_a_seed_draws_sizes_paths_colours_and_the_order_of_cameras():
    for name in SCENES:
        found = [scene(name, seed).movers(0.3)[0] for seed in SEEDS]
        assert len({ball.half[0] for ball in found}) == len(SEEDS)
        assert len({tuple(ball.center) for ball in found}) == len(SEEDS)
    first, second = (draw_colors(np.random.default_rng([s, *b"fast"])) for s in (0, 1))
    assert first != second
    orders = []
    for seed in (0, 1):
        views = make_views({"train": 24, "val": 0, "test": 0}, seed)
        heights = [view.c2w[2, 3] for view in views]
        orders.append([int(np.argsort(np.argsort(heights))[k]) for k in range(24)])
    assert orders[0] != orders[1]


def test_the_robots_folder_still_says_what_it_said():
    assert script.DemoSettings().content() == {
        "made_by": "scripts/make_demo_data.py",
        "version": 2,
        "width": 200,
        "train": 100,
        "val": 10,
        "test": 20,
        "seed": 0,
    }


def test_the_command_names_the_scene(tmp_path, capsys):
    out = str(tmp_path / "scale")
    script.main(["--scene", "scale", "--out", out, "--width", "8", "--workers", "1"])
    assert "84 train, 14 val, 14 test views written" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        script.main(["--scene", "sale", "--out", out])
    said = capsys.readouterr().err
    assert "--scene is 'sale'; choose one of robot, fast, occlusion, scale, texture" in said
