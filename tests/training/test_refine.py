"""Held-out moments fitted to their pictures: what moves, what does not, and where scores go."""

import json
from dataclasses import replace

import pytest
import torch

import metrics
import render
from arguments import parse_render_args, parse_train_args
from scene import load_scene
from scene.facts import SceneFacts
from scene.frames import FrameLoader
from scene.methods import model_folder, read_method
from tests.building import CPU
from tests.tiny_scene import write_tiny_flame_head
from train import train
from training.refine import fit_moments
from utils.errors import InputError

pytestmark = pytest.mark.long

FLAGS = "--method monogaussian --iterations 150 --init_points 300 --quiet --cache_mb 10"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    data = write_tiny_flame_head(folder / "head")
    train(parse_train_args(["-s", str(data), "-m", str(folder / "model"), *FLAGS.split()]))
    return folder / "model"


def model_and_scene(trained):
    settings, _ = parse_render_args(["-m", str(trained)])
    at = model_folder(trained, -1)
    scene = load_scene(settings.dataset, settings.model, settings.data)
    return read_method(at, SceneFacts.read(at), settings, CPU), scene


def test_a_wrong_jaw_is_set_right_by_its_picture_and_nothing_else_moves(trained):
    method, scene = model_and_scene(trained)
    wrong = []
    for frame in scene.test:
        pose = frame.flame_pose.clone()
        pose[6] += 0.15
        wrong.append(replace(frame, flame_pose=pose))
    before = {name: value.clone() for name, value in method.state_dict().items()}
    loader = FrameLoader(10, CPU)
    method.optim = replace(method.optim, frame_lr=5e-3)
    first = fit_moments(method, wrong, loader, 1)
    last = fit_moments(method, wrong, loader, 60)
    assert all(b < 0.97 * a for a, b in zip(first, last, strict=True))
    tested = [frame.index for frame in scene.test]
    for name, value in method.state_dict().items():
        if name.startswith("frames."):
            moved = (value != before[name]).flatten(1).any(1).nonzero()[:, 0].tolist()
            assert moved == sorted(tested), name
        else:
            assert torch.equal(value, before[name]), name
    jaws = method.frames.rows["flame_pose"][tested, 6]
    assert bool((jaws < 0).all())  # back towards the truth


def test_the_order_of_the_frames_says_nothing(trained):
    rows = []
    for turn in (1, -1):
        method, scene = model_and_scene(trained)
        fit_moments(method, scene.test[::turn], FrameLoader(10, CPU), 3)
        rows.append(method.frames.rows["expression"].detach().clone())
    assert torch.equal(*rows)


def test_both_protocols_stand_in_one_table_under_their_names(trained, monkeypatch, capsys):
    skip = ["--skip_train", "--skip_video", "--quiet"]
    render.render_model(*parse_render_args(["-m", str(trained), *skip, "--refine_test", "20"]))
    monkeypatch.setattr("sys.argv", ["metrics.py", "-m", str(trained), "--skip_lpips", "--quiet"])
    metrics.main()
    said = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in said.splitlines() if "ours_150" in line}
    assert {"test", "test_refined"} <= rows.keys()
    plain, refined = (
        json.loads((trained / f"results{suffix}.json").read_text())["ours_150"]
        for suffix in ("", "_test_refined")
    )
    assert refined["protocol"]["split"] == "test_refined"
    assert plain["protocol"]["split"] == "test"
    assert plain["PSNR"] != refined["PSNR"]


def test_a_model_without_corrections_is_refused(trained):
    method, scene = model_and_scene(trained)
    method.frames = None
    with pytest.raises(InputError, match="learned no corrections per moment"):
        fit_moments(method, scene.test, FrameLoader(10, CPU), 1)


def test_what_draws_no_test_frames_cannot_fit_them(trained):
    flags = ["-m", str(trained), "--skip_train", "--skip_test", "--refine_test", "5", "--quiet"]
    with pytest.raises(InputError, match=r"--refine_test .* --skip_test .* one of them"):
        render.render_model(*parse_render_args(flags))
