"""The true paths of surface points, the arc of cameras, and the score of tracks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from scene.gaussian_model import Gaussians
from scripts.demo.robot import views as robot
from scripts.demo.tracks import N_POINTS, write_tracks
from scripts.make_demo_data import DemoSettings
from scripts.score_tracks import carried, read_tracks
from utils.errors import InputError
from utils.random import generator


@pytest.fixture(scope="module")
def settings():
    return DemoSettings(train=10, val=2, test=2)


@pytest.fixture(scope="module")
def tracks(settings, tmp_path_factory):
    folder, views = tmp_path_factory.mktemp("tracks"), settings.views()
    write_tracks(folder, views, lambda time: settings.solids(time)[0], settings.fov_x, 0)
    return read_tracks(folder / "tracks.npz")


def surface_gap(point, solids):
    """How far a point is from the nearest surface, in parts of its solid."""
    gaps = []
    for solid in solids:
        local = (point - solid.center) @ solid.unit_from_world.T
        direction = local / max(np.linalg.norm(local), 1e-9)
        origin = tuple(np.float32(part) for part in 3 * direction)
        near, _ = solid.shape.span(origin, tuple(np.float32(part) for part in -direction))
        gaps.append(abs(3 - float(near) - np.linalg.norm(local)))
    return min(gaps)


def test_true_points_stay_on_surfaces(settings, tracks):
    times, points = tracks
    assert points.shape == (14, N_POINTS, 3)
    assert times == sorted({view.time for view in settings.views()})
    for k in (0, 5, 13):
        solids = settings.solids(times[k])[0]
        gaps = [surface_gap(point, solids) for point in points[k, ::10].double().numpy()]
        assert max(gaps) < 1e-3


def test_some_points_move_and_some_rest(tracks):
    way = (tracks[1] - tracks[1][:1]).norm(dim=2).amax(0)
    assert float((way < 1e-5).float().mean()) > 0.1
    assert float((way > 0.05).float().mean()) > 0.1


def test_on_an_arc_the_camera_turns_about_the_scene_while_test_views_stay(settings):
    arc = replace(settings, arc=30)
    before = {view.file_path: view.c2w for view in settings.views()}
    train = [view for view in arc.views() if view.split == "train"]
    places = np.stack([view.c2w[:3, 3] for view in train])
    angles = np.degrees(np.unwrap(np.arctan2(places[:, 1], places[:, 0])))
    assert angles[-1] - angles[0] == pytest.approx(30)
    assert (np.diff(angles) > 0).all()
    assert np.allclose(np.linalg.norm(places, axis=1), robot.RADIUS)
    for view in arc.views():
        if view.split != "train":
            assert np.array_equal(view.c2w, before[view.file_path])
    assert "arc" not in settings.content()
    assert arc.content()["arc"] == 30


def test_points_are_carried_by_gaussians_that_turn():
    source = generator(0, "carried")
    means = torch.randn(40, 3, generator=source)
    upright = torch.tensor([1.0, 0, 0, 0]).expand(40, 4)
    ones = torch.ones(40, 3)
    first = Gaussians(means, upright, ones, ones[:, :1])
    half = torch.tensor(0.35)
    R = torch.tensor(
        [[(2 * half).cos(), -(2 * half).sin(), 0], [(2 * half).sin(), (2 * half).cos(), 0],
         [0, 0, 1]]
    )  # fmt: skip
    turned = torch.stack([half.cos(), *torch.zeros(2), half.sin()]).expand(40, 4)
    now = Gaussians(means @ R.T + 1, turned, ones, ones[:, :1])
    points = 0.5 * torch.randn(20, 3, generator=source)
    assert torch.allclose(carried(points, first, now), points @ R.T + 1, atol=1e-5)
    faint = replace(first, opacities=0 * ones[:, :1])  # then all take part
    assert torch.allclose(carried(points, faint, now), points @ R.T + 1, atol=1e-5)


def test_a_file_that_holds_no_tracks_is_one_line(tmp_path):
    with pytest.raises(InputError, match="no such file; make the data again"):
        read_tracks(tmp_path / "tracks.npz")
    np.savez(tmp_path / "tracks.npz", times=np.zeros(3), points=np.zeros((2, 5, 3)))
    with pytest.raises(InputError, match="cannot be read as times"):
        read_tracks(tmp_path / "tracks.npz")
