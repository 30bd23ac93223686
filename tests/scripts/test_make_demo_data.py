"""The demo data against facts known without its renderer: layout, geometry, alpha, motion."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest

from scripts import make_demo_data as script
from scripts.demo.robot.raycast import SUN, render
from scripts.demo.robot.shapes import BALL, CUBE, ROD, Paint, Solid
from scripts.demo.robot.textures import plain
from scripts.demo.robot.toy import FLOOR, move, toy
from scripts.demo.robot.views import FOV_X, View, make_views
from utils.errors import InputError

pytestmark = pytest.mark.long

GREY = Paint(plain("808080"), gloss=0)
SETTINGS = script.DemoSettings(width=32, train=5, val=2, test=3)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "demo"
    assert script.make_demo_data(out, SETTINGS, workers=2)
    return out


def frames(demo, split):
    return json.loads((demo / f"transforms_{split}.json").read_text())["frames"]


def read(path):
    return cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)


def camera_on_axis(distance=4.0):
    """A camera in front of the toy, looking along +y: x right, z up in the picture."""
    c2w = np.eye(4)
    c2w[:3] = [[1, 0, 0, 0], [0, 0, -1, -distance], [0, 1, 0, 0]]
    return c2w


def project(point, c2w, size):
    """Pixel (column, row) of a world point by the convention alone: OpenGL axes, x right, y up."""
    x, y, z, _ = np.linalg.inv(c2w) @ np.append(point, 1.0)
    focal = 0.5 * size / np.tan(FOV_X / 2)
    return np.array([size / 2 + focal * x / -z, size / 2 - focal * y / -z])


@pytest.mark.parametrize(("split", "count"), [("train", 5), ("val", 2), ("test", 3)])
def test_every_frame_has_a_picture_and_a_camera_that_looks_at_the_origin(demo, split, count):
    content = json.loads((demo / f"transforms_{split}.json").read_text())
    assert content["camera_angle_x"] == pytest.approx(0.6911, abs=1e-4)
    assert len(content["frames"]) == count
    for i, frame in enumerate(content["frames"]):
        assert frame["file_path"] == f"./{split}/r_{i:03d}"
        assert read(demo / f"{frame['file_path']}.png").shape == (32, 32, 4)
        c2w = np.array(frame["transform_matrix"])
        rotation, center = c2w[:3, :3], c2w[:3, 3]
        assert np.allclose(rotation @ rotation.T, np.eye(3))
        assert np.linalg.det(rotation) == pytest.approx(1)
        assert np.linalg.norm(center) == pytest.approx(4.03, abs=0.01)
        assert np.allclose(-rotation[:, 2] * np.linalg.norm(center), -center)
        assert rotation[2, 1] > 0, "the world's z axis must point up in the picture"


def test_held_out_times_and_cameras_are_not_those_of_training(demo):
    train = {frame["time"] for frame in frames(demo, "train")}
    assert min(train) == 0
    assert max(train) == 1
    seen = {str(frame["transform_matrix"]) for frame in frames(demo, "train")}
    for split in ("val", "test"):
        for frame in frames(demo, split):
            assert 0 < frame["time"] < 1
            assert frame["time"] not in train
            assert str(frame["transform_matrix"]) not in seen


def test_default_dataset_has_the_views_the_demo_promises():
    views = script.DemoSettings().views()
    counts = [sum(view.split == split for view in views) for split in ("train", "val", "test")]
    assert counts == [100, 10, 20]
    assert len({view.file_path for view in views}) == 130


def test_known_point_has_its_colour_where_the_stored_camera_says():
    """The antenna's red ball is the robot's top, so cameras above see it."""
    size, seen = 64, 0
    for view in make_views({"train": 4, "val": 2, "test": 2}, seed=3):
        solids = toy(view.time)
        ball = next(s for s in solids if s.name == "antenna ball")
        image = render(solids, view.c2w, FOV_X, size)
        column, row = np.floor(project(ball.center, view.c2w, size)).astype(int)
        red, green, blue, alpha = (int(v) for v in image[row, column])
        seen += alpha == 255 and red > 1.5 * green and red > 1.5 * blue
    assert seen >= 6, "the balloon may hide the ball from a few of eight cameras, not from three"


def test_ball_covers_exactly_the_rays_inside_its_cone():
    """A ball of radius r, seen from distance d, fills a cone with sin² = r² / d²."""
    center, radius, size = np.array([0.3, 0.0, 0.2]), 0.4, 64
    ball = Solid("ball", BALL, move(*center), np.full(3, radius), GREY)
    alpha = render([ball], camera_on_axis(), FOV_X, size)[..., 3]
    side = ((np.arange(4 * size) + 0.5) / (4 * size) * 2 - 1) * np.tan(FOV_X / 2)
    x, z = np.meshgrid(side, -side)
    rays = np.stack([x, np.ones_like(x), z], -1)
    to = center + np.array([0, 4, 0])
    cosine = rays @ to / np.linalg.norm(rays, axis=-1) / np.linalg.norm(to)
    inside = cosine > np.sqrt(1 - radius**2 / (to @ to))
    share = inside.reshape(size, 4, size, 4).mean((1, 3))
    assert np.array_equal(alpha, np.floor(share * 255 + 0.5))


def test_alpha_is_zero_outside_full_inside_and_soft_between(demo):
    image = read(demo / "train" / "r_000.png")
    assert (image[..., 3] == 0).any()
    assert (image[..., 3] == 255).any()
    assert ((image[..., 3] > 0) & (image[..., 3] < 255)).any()
    assert not image[image[..., 3] == 0].any(), "empty pixels hold no stray colour"


def test_colour_of_an_edge_pixel_is_not_darkened_by_the_background():
    cube = Solid("cube", CUBE, move(0, 0, 0), np.full(3, 0.52), GREY)
    image = render([cube], camera_on_axis(), FOV_X, 32)
    edge = (image[..., 3] > 0) & (image[..., 3] < 255)
    inside = image[image[..., 3] == 255][:, :3]
    assert edge.any()
    assert np.abs(image[edge][:, :3].astype(int) - np.median(inside, 0)).max() <= 3


def test_shadow_falls_where_the_sun_is_blocked():
    floor = Solid("floor", ROD, move(0, 0, -0.5), np.array([1.0, 1.0, 0.1]), GREY)
    plate = Solid("plate", CUBE, move(0, 0, 0.1), np.array([0.3, 0.3, 0.02]), GREY)
    above = np.eye(4)
    above[2, 3] = 4
    height = 0.1 - (-0.4)
    # The plate's centre, carried to the floor.
    shadow = -SUN / SUN[2] * height + np.array([0, 0, 0.1])
    lit, dark = (
        render(solids, above, FOV_X, 64)[..., :3].astype(int)
        for solids in ([floor], [floor, plate])
    )
    aside = shadow + np.array([0.12, 0.12, 0])  # still in the shadow, but not under the plate
    column, row = np.floor(project(aside, above, 64)).astype(int)
    assert dark[row, column].sum() < 0.7 * lit[row, column].sum()


def test_near_solids_hide_far_ones_whatever_their_order():
    near = Solid("near", BALL, move(0, -1, 0), np.full(3, 0.3), Paint(plain("ff0000"), gloss=0))
    far = Solid("far", CUBE, move(0, 1, 0), np.full(3, 0.6), Paint(plain("0000ff"), gloss=0))
    a, b = (render(solids, camera_on_axis(), FOV_X, 32) for solids in ([near, far], [far, near]))
    assert np.array_equal(a, b)
    assert a[16, 16, 0] > 100
    assert a[16, 16, 2] == 0
    assert a[10, 10, 2] > a[10, 10, 0], "the far cube shows beside the ball"


def test_toy_occludes_itself():
    """Without the robot's body the picture shows things that the body hides."""
    solids = toy(0.0)
    behind = camera_on_axis()
    full = render(solids, behind, FOV_X, 48)
    hidden = [s for s in solids if s.name.startswith("block")]
    alone = render(hidden, behind, FOV_X, 48)
    covered = alone[..., 3] == 255
    assert covered.sum() > 20
    without = render([s for s in solids if s not in hidden], behind, FOV_X, 48)
    same = (full[covered] == without[covered]).all(-1).mean()
    assert same > 0.2, "a good part of the blocks is hidden by what stands in front"


def test_motion_is_visible_smooth_and_closes_its_loop():
    camera = make_views({"train": 2, "val": 0, "test": 0}, seed=1)[0].c2w
    start, soon, later, end = (
        render(toy(t), camera, FOV_X, 48).astype(int) for t in (0.0, 0.01, 0.25, 1.0)
    )
    assert np.abs(later - start).mean() > 4
    assert np.abs(soon - start).mean() < 0.4 * np.abs(later - start).mean()
    assert np.abs(end - start).mean() < 0.05, "only rounding may differ after one period"


def test_nothing_leaves_the_scene_box_or_jumps():
    times = np.linspace(0, 1, 100)
    centers = np.array([[s.center for s in toy(t)] for t in times])
    corners = np.array([[s.corners() for s in toy(t)] for t in times])
    assert np.abs(corners).max() < 1.3
    assert np.linalg.norm(np.diff(centers, axis=0), axis=-1).max() < 0.05
    assert 0.3 < np.ptp(centers, axis=0).max() < 0.7
    moving = [s for s in toy(0.3) if s.name not in ("stand",)]
    assert all(s.corners()[:, 2].min() > FLOOR - 0.15 for s in moving)


def test_same_arguments_give_the_same_bytes_with_any_number_of_processes(demo, tmp_path):
    again = tmp_path / "again"
    script.make_demo_data(again, SETTINGS, workers=1)
    names = sorted(p.relative_to(demo) for p in demo.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    assert all((demo / n).read_bytes() == (again / n).read_bytes() for n in names)


def test_views_depend_on_the_seed():
    first, second = (make_views({"train": 3, "val": 1, "test": 1}, seed) for seed in (0, 1))
    assert not np.allclose(first[0].c2w, second[0].c2w)
    assert isinstance(first[0], View)


def test_complete_folder_is_left_alone_and_a_damaged_one_is_made_again(demo, tmp_path):
    out = tmp_path / "demo"
    shutil.copytree(demo, out)
    before = (out / "train" / "r_000.png").stat().st_mtime_ns
    assert not script.make_demo_data(out, SETTINGS, workers=1)
    assert (out / "train" / "r_000.png").stat().st_mtime_ns == before
    (out / "test" / "r_001.png").unlink()
    assert script.make_demo_data(out, SETTINGS, workers=1)
    assert (out / "test" / "r_001.png").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_other_arguments_replace_our_own_folder(tmp_path):
    out = tmp_path / "demo"
    for width in (8, 9):
        assert script.make_demo_data(
            out, script.DemoSettings(width=width, train=2, val=0, test=1), workers=1
        )
    assert read(out / "train" / "r_001.png").shape == (9, 9, 4)


@pytest.mark.parametrize("name", ["notes.txt", script.MARKER])
def test_foreign_folder_is_refused_and_kept(tmp_path, name):
    (tmp_path / name).write_text("[]")
    with pytest.raises(InputError, match=r"was not made by scripts/make_demo_data\.py"):
        script.make_demo_data(tmp_path, SETTINGS, workers=1)
    assert (tmp_path / name).read_text() == "[]"


def test_foreign_folder_in_the_way_of_the_unfinished_one_is_refused_and_kept(tmp_path):
    (tmp_path / "demo.gaussians-part").mkdir()
    (tmp_path / "demo.gaussians-part" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"demo\.gaussians-part: exists but has no readable"):
        script.make_demo_data(tmp_path / "demo", SETTINGS, workers=1)
    assert (tmp_path / "demo.gaussians-part" / "notes.txt").read_text() == "mine"


def test_folder_left_by_a_killed_run_is_cleaned_up(tmp_path):
    partial = tmp_path / "demo.gaussians-part"
    partial.mkdir()
    settings = script.DemoSettings(width=8, train=2, val=0, test=0)
    (partial / script.MARKER).write_text(json.dumps({"made_by": script.MADE_BY}))
    assert script.make_demo_data(tmp_path / "demo", settings, workers=1)
    assert not partial.exists()


def test_impossible_size_is_one_sentence_and_exit_code_2(tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_info:
        script.main(["--out", str(tmp_path / "demo"), "--width", "4"])
    assert exit_info.value.code == 2
    assert "--width is 4; choose a number from 8 to 4096" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
