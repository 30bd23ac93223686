"""What render.py shows of an avatar: turned, swept, driven, reenacted; as videos alone."""

import json

import imageio.v2 as iio
import numpy as np
import pytest

import metrics
import render
from arguments import parse_render_args, parse_train_args
from scene import avatar
from scoring.sheets import CELL
from scoring.shots import N_TURN
from tests.tiny_scene import COUNTS, SIZE, write_tiny_head
from train import train

pytestmark = pytest.mark.long

AVATARS = {
    "fourdgs": "--coarse_iterations 5 --multires 1 --expression_input true --time_input false",
    "gaussianhead": "--warm_up 5 --lambda_vgg 0 --deform_width 16",
}
N_MOMENTS = COUNTS["train"] + COUNTS["test"]


@pytest.fixture(scope="module", params=AVATARS)
def model(request, tmp_path_factory):
    """The folder of an avatar, trained just so long that its expressions move it."""
    folder = tmp_path_factory.mktemp(request.param)
    data = write_tiny_head(folder / "head")
    flags = ["-s", str(data), "-m", str(folder / "model"), "--method", request.param, "--quiet"]
    flags += [*AVATARS[request.param].split(), "--iterations", "30", "--init_points", "80"]
    train(parse_train_args(flags))
    return folder / "model"


def shown(model, *flags):
    skip = ["--skip_train", "--skip_test", "--skip_video", "--quiet"]
    render.render_model(*parse_render_args(["-m", str(model), *skip, *flags]))


def pictures(model, name, part="renders"):
    return [iio.imread(file) for file in sorted(model.glob(f"{name}/ours_*/{part}/*.png"))]


def test_a_turn_of_a_resting_face_ends_where_it_began_and_shows_it_from_all_sides(model):
    shown(model, "--novel_view", "--playing", "false")
    views = pictures(model, "novel_view")
    assert len(views) == N_TURN
    half = N_TURN // 2
    assert np.array_equal(views[0], views[half])  # the turn goes to one side and back
    assert not np.array_equal(views[half // 2], views[half + half // 2])


def test_a_sweep_gives_a_row_per_coefficient_whose_middle_is_the_mean_face(model):
    shown(model, "--novel_expression")
    views, n = pictures(model, "novel_expression"), len(avatar.SWEEP)
    assert len(views) == 3 * n
    middles = [views[row * n + n // 2] for row in range(3)]
    assert all(np.array_equal(middles[0], other) for other in middles)
    assert not np.array_equal(views[0], views[n - 1])
    constant = views[2 * n :]  # the third coefficient never varies in the data
    assert all(np.array_equal(constant[0], other) for other in constant)
    (grid,) = model.glob("novel_expression/ours_*/grid.png")
    assert iio.imread(grid).shape[0] > 3 * CELL


def test_a_driven_avatar_keeps_its_camera_and_performs_every_moment(model):
    shown(model, "--drive", str(model.parent / "head"))
    assert len(pictures(model, "drive")) == N_MOMENTS
    assert pictures(model, "drive", "gt") == []


def test_reenacting_its_own_sequence_draws_the_test_frames_again_and_is_scored(model, monkeypatch):
    render.render_model(*parse_render_args(["-m", str(model), "--skip_train", "--quiet"]))
    shown(model, "--reenact", str(model.parent / "head"), "--drive_clamp", "false")
    views, truth = pictures(model, "reenactment"), pictures(model, "reenactment", "gt")
    assert len(views) == len(truth) == N_MOMENTS
    for view, picture in zip(pictures(model, "test"), pictures(model, "test", "gt"), strict=True):
        (k,) = [k for k, other in enumerate(truth) if np.array_equal(other, picture)]
        assert np.array_equal(views[k], view)
    monkeypatch.setattr("sys.argv", ["metrics.py", "-m", str(model), "--quiet", "--skip_lpips"])
    metrics.main()
    (scores,) = json.loads((model / "results_reenactment.json").read_text()).values()
    errors = [((a / 255.0 - b / 255.0) ** 2).mean() for a, b in zip(views, truth, strict=True)]
    assert scores["PSNR"] == pytest.approx(np.mean(-10 * np.log10(errors)), abs=1e-4)


def test_a_shorter_performance_leaves_no_picture_of_a_longer_one(model, tmp_path):
    shown(model, "--drive", str(model.parent / "head"))
    shorter = write_tiny_head(tmp_path / "short")
    content = json.loads((shorter / "transforms.json").read_text())
    content["frames"] = content["frames"][:6]
    (shorter / "transforms.json").write_text(json.dumps(content))
    shown(model, "--drive", str(shorter))
    assert len(pictures(model, "drive")) == 6


def test_a_video_alone_has_no_pictures_beside_it(model):
    for folder in model.glob("novel_view/*"):
        for file in folder.rglob("*.png"):
            file.unlink()
    shown(model, "--novel_view", "--video_only")
    assert pictures(model, "novel_view") == []
    (video,) = model.glob("novel_view/ours_*/video_rgb.mp4")
    frames = iio.mimread(video)
    assert len(frames) == N_TURN
    assert frames[0].shape[:2] >= (SIZE, SIZE)
