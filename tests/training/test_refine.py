"""Held-out moments fitted to their pictures: what moves, what does not, and where scores go."""

import json
from dataclasses import replace

import pytest
import torch

import metrics
import render
from arguments import parse_render_args, parse_train_args
from gaussian_renderer import render as draw
from scene import load_scene
from scene.facts import SceneFacts
from scene.frames import FrameLoader
from scene.methods import model_folder, read_method
from tests.building import CPU
from tests.tiny_scene import write_tiny_flame_head, write_tiny_head
from train import train
from training.losses import l1
from training.refine import fit_frames, fit_moments
from utils.errors import InputError
from utils.rotations import twist_to_pose

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


def test_both_protocols_are_scored_under_their_names(trained, monkeypatch, capsys):
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
    assert plain["protocol"]["fitted"] is None
    assert refined["protocol"]["fitted"] == "what was learned per moment"


def test_a_model_without_corrections_is_refused(trained):
    method, scene = model_and_scene(trained)
    method.frames = None
    with pytest.raises(InputError, match="learned no corrections per moment"):
        fit_moments(method, scene.test, FrameLoader(10, CPU), 1)


def test_what_draws_no_test_frames_cannot_fit_them(trained):
    flags = ["-m", str(trained), "--skip_train", "--skip_test", "--refine_test", "5", "--quiet"]
    with pytest.raises(InputError, match=r"--refine_test .* --skip_test .* one of them"):
        render.render_model(*parse_render_args(flags))


AVATARS = {
    "blendshapes": "",
    "fourdgs": "--multires 1 --expression_input true --time_input false",
}


@pytest.fixture(scope="module", params=AVATARS)
def avatar(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("avatar")
    data = write_tiny_head(folder / "head")
    flags = f"--method {request.param} {AVATARS[request.param]} --init_points 300 --quiet"
    flags += " --coarse_iterations 60 --iterations 150"
    train(parse_train_args(["-s", str(data), "-m", str(folder / "model"), *flags.split()]))
    return folder / "model"


class Painted:
    """In place of pictures on the disk: what the model itself shows of the same moments."""

    def __init__(self, method, frames):
        self.method = method
        self.truth = {frame.index: self.draw(frame) for frame in frames}

    @torch.no_grad()
    def draw(self, frame):
        return draw(frame.camera, self.method(frame), self.method.background).image

    def load(self, frame, background):
        return replace(frame, image=self.truth[frame.index], background=background)


def wrong(frame, facts):
    """The frame as a tracker has it that errs a little in everything."""
    n = len(frame.expression)
    coefficients = facts.conditions["expression"].spread * torch.linspace(0.5, -0.5, n)
    turn = twist_to_pose(torch.tensor([0.03, 0.0, -0.02, 0.0, 0.05, 0.0]))
    return replace(
        frame,
        expression=frame.expression + coefficients,
        camera=replace(frame.camera, viewmat=frame.camera.viewmat @ turn),
        body_to_world=frame.body_to_world @ twist_to_pose(torch.full((6,), 0.02)),
    )


def test_frames_find_back_to_their_pictures_and_the_model_stays(avatar):
    method, scene = model_and_scene(avatar)
    facts = SceneFacts.read(model_folder(avatar, -1))
    assert method.body is not None
    painted, frames = Painted(method, scene.test), [wrong(f, facts) for f in scene.test]
    before = {name: value.clone() for name, value in method.state_dict().items()}
    fitted = fit_frames(method, facts, frames[:1], painted, 60)
    off, found = (
        float(l1(painted.draw(frame), painted.truth[frame.index])) for frame in (frames[0], *fitted)
    )
    assert found < off / 2
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert not torch.equal(fitted[0].expression, frames[0].expression)
    assert not torch.equal(fitted[0].body_to_world, frames[0].body_to_world)
    assert fitted[0].image is None  # what is drawn later is loaded then


def test_corrections_of_neighbours_are_smoothed_and_those_of_a_rig_are_not(avatar):
    method, scene = model_and_scene(avatar)
    facts = SceneFacts.read(model_folder(avatar, -1))
    painted, frames = Painted(method, scene.test), [wrong(f, facts) for f in scene.test]
    alone = [fit_frames(method, facts, [frame], painted, 3)[0].expression for frame in frames]
    steps = [own - frame.expression for own, frame in zip(alone, frames, strict=True)]
    smooth = [frame.expression for frame in fit_frames(method, facts, frames, painted, 3)]
    middle = frames[1].expression + (steps[0] + 2 * steps[1] + steps[2]) / 4
    torch.testing.assert_close(smooth[1], middle)
    rig = fit_frames(method, facts, [replace(f, time=0.5) for f in frames], painted, 3)
    torch.testing.assert_close(torch.stack([f.expression for f in rig]), torch.stack(alone))


def test_a_fitted_performance_has_a_name_and_scores_of_its_own(avatar, monkeypatch, capsys):
    skip = ["--skip_train", "--skip_test", "--skip_video", "--quiet", "--fit", "10"]
    reenact = ["--reenact", str(avatar.parent / "head")]
    with pytest.raises(InputError, match="--fit fits the frames of --reenact"):
        render.render_model(*parse_render_args(["-m", str(avatar), *skip]))
    render.render_model(*parse_render_args(["-m", str(avatar), *skip, *reenact]))
    monkeypatch.setattr("sys.argv", ["metrics.py", "-m", str(avatar), "--skip_lpips", "--quiet"])
    metrics.main()
    plain, fitted = (
        json.loads((avatar / f"results_reenactment{suffix}.json").read_text())["ours_150"]
        for suffix in ("", "_fitted")
    )
    assert fitted["PSNR"] > plain["PSNR"]
    assert fitted["protocol"]["split"] == "reenactment_fitted"
    assert fitted["protocol"]["fitted"] == "expression, head pose and body motion"
    assert plain["protocol"]["fitted"] is None
