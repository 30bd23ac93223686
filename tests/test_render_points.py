"""What render.py shows of a model's moments: what its Gaussians ride on, their paths, any time."""

import json
from dataclasses import replace

import imageio.v2 as iio
import numpy as np
import pytest
import torch

import render
from arguments import parse_render_args, parse_train_args
from gaussian_renderer.marks import Trails, dots, hues
from scene.cameras import Camera, intrinsics
from scene.frames import Frame
from scene.methods import open_model
from scoring import shots
from tests.tiny_scene import COUNTS, write_tiny_scene
from train import train
from utils.errors import InputError
from utils.ply import read_points

CAMERA = Camera.from_opencv_w2c(
    torch.eye(4, dtype=torch.float64), intrinsics(50, 50, 20, 20), 40, 40
)
SMALL = "--n_points 60 --n_shapes 14 --net_width 16 --net_depth 1 --window 3"
FLAGS = {
    "npg": f"--method npg --coarse_iterations 8 {SMALL}",
    "fourdgs": "--method fourdgs --coarse_iterations 8 --multires 1",
}


def modelled(name, folder):
    data = write_tiny_scene(folder / "tiny")
    out = folder / "model"
    flags = f"-s {data} -m {out} --quiet --iterations 12 --init_points 80 {FLAGS[name]}"
    train(parse_train_args(flags.split()))
    return out


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return modelled("npg", tmp_path_factory.mktemp("npg"))


def shown(model, *flags):
    skip = ["--skip_train", "--skip_test", "--skip_val", "--skip_video", "--quiet"]
    render.render_model(*parse_render_args(["-m", str(model), *skip, *flags]))


def test_a_dot_is_drawn_where_its_point_is_seen():
    points = torch.tensor([[0.2, -0.1, 1.0], [9.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    picture = np.full((40, 40, 3), 200, np.uint8)
    marked = dots(lambda frame: points)(Frame(CAMERA, 0, 0.0), picture)
    away = np.abs(marked.astype(int) - (picture // 2 + 127)).sum(2)
    rows, columns = np.nonzero(away)
    weights = away[rows, columns]
    # At 20 + 50 * 0.2 and 20 - 50 * 0.1, pixel centres at .5.
    assert np.average(columns + 0.5, weights=weights) == pytest.approx(30, abs=0.3)
    assert np.average(rows + 0.5, weights=weights) == pytest.approx(15, abs=0.3)
    assert np.ptp(rows) <= 3


def test_a_path_is_drawn_behind_its_point_and_not_before():
    times = [0.0, 0.5, 1.0]
    paths = torch.tensor([[[-0.3, 0, 1.0]], [[0.0, 0, 1.0]], [[0.3, 0, 1.0]]])
    picture = np.zeros((40, 40, 3), np.uint8)
    marked = Trails(times, paths)(Frame(CAMERA, 0, 0.5), picture)
    drawn = np.nonzero((marked != 127).any(2))[1]
    assert drawn.min() == pytest.approx(4, abs=1)
    assert drawn.max() == pytest.approx(20, abs=2)


def test_hues_differ():
    assert len(set(hues(100))) == 100


@pytest.mark.long
def test_points_are_drawn_and_written_moment_by_moment(model):
    shown(model, "--points")
    (folder,) = model.glob("points/ours_*")
    clouds = sorted((folder / "clouds").glob("*.ply"))
    pictures = sorted((folder / "renders").glob("*.png"))
    assert len(clouds) == len(pictures) == COUNTS["test"]
    assert (folder / "video_rgb.mp4").is_file()
    said = json.loads((folder / "coefficients.json").read_text())["moments"]
    settings, _ = parse_render_args(["-m", str(model)])
    facts, method = open_model(settings, -1, torch.device("cpu"))
    assert [moment["time"] for moment in said] == [frame.time for frame in facts.shown]
    for file, moment, frame in zip(clouds, said, facts.shown, strict=True):
        points, numbers = method.carriers(frame)
        assert torch.allclose(read_points(file)[0], points, atol=1e-6)
        assert moment["coefficients"] == pytest.approx(numbers)
        assert len(numbers) == 14


@pytest.mark.long
def test_paths_of_gaussians_become_a_video(model):
    shown(model, "--tracks", "--video_only")
    (folder,) = model.glob("tracks/ours_*")
    video = iio.mimread(folder / "video_rgb.mp4", memtest=False)
    assert len(video) == shots.N_MOMENTS
    assert not np.array_equal(video[10], video[-1])


@pytest.mark.long
def test_any_moment_can_be_drawn(model):
    shown(model, "--novel_time", "0.123", "0.9")
    (folder,) = model.glob("novel_time/ours_*")
    views = json.loads((folder / "views.json").read_text())["views"]
    assert [view["time"] for view in views] == [0.123, 0.9]
    first, last = (iio.imread(folder / "renders" / view["name"]) for view in views)
    assert not np.array_equal(first, last)


@pytest.mark.long
def test_a_method_without_points_is_refused_in_a_line(tmp_path):
    model = modelled("fourdgs", tmp_path)
    with pytest.raises(InputError, match="ride on no points; leave --points out"):
        shown(model, "--points")


def test_a_time_outside_the_clip_is_refused(model, capsys):
    with pytest.raises((InputError, SystemExit)):
        parse_render_args(["-m", str(model), "--novel_time", "1.5"])


def test_marks_leave_the_picture_they_were_given(model):
    picture = np.full((40, 40, 3), 9, np.uint8)
    before = picture.copy()
    frame = replace(Frame(CAMERA, 0, 0.0), time=0.2)
    dots(lambda frame: torch.tensor([[0.0, 0, 1]]))(frame, picture)
    assert np.array_equal(picture, before)
