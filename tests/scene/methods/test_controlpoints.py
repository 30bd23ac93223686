"""The method of control points: what is followed, what is born, and what a frame shows."""

from dataclasses import replace

import pytest
import torch

from arguments import parse_train_args
from gaussian_renderer import render
from scene import load_scene
from scene.cameras import Camera
from scene.facts import SceneFacts
from scene.frames import Frame, PointCloud
from scene.gaussian_model import Gaussians
from scene.methods import make_method
from tests.tiny_scene import write_tiny_scene
from training.optimizers import Optimizers
from training.samplers import GrowingWindow

N_MOMENTS, SIDE, STEPS = 24, 32, 700
K = torch.tensor([[36.0, 0, SIDE / 2], [0, 36.0, SIDE / 2], [0, 0, 1]])
WHITE = torch.ones(3)


def place(time):
    """Of a ball that crosses the scene, its own size every other moment."""
    return torch.tensor([1.2 - 2.4 * time, 0.8 * time - 0.4, 0.3])


def camera(k):
    """One of six cameras around, four units away."""
    angle = torch.tensor(2 * torch.pi * (5 * k % 6) / 6)
    forward = torch.stack([-angle.cos(), -angle.sin(), torch.tensor(0.0)])
    down = torch.tensor([0.0, 0.0, -1.0])
    right = torch.linalg.cross(down, forward)
    c2w = torch.eye(4, dtype=torch.float64)
    c2w[:3, :3] = torch.stack([right, down, forward], dim=1)
    c2w[:3, 3] = -4 * forward
    return Camera.from_opencv_c2w(c2w, K, SIDE, SIDE)


@torch.no_grad()
def picture(k):
    time = k / (N_MOMENTS - 1)
    frame = Frame(camera(k), k, time, background=WHITE)
    ball = Gaussians(
        means=place(time)[None],
        quats=torch.tensor([[1.0, 0, 0, 0]]),
        scales=torch.full((1, 3), 0.15),
        opacities=torch.full((1, 1), 0.95),
        colors=torch.tensor([[0.9, 0.1, 0.2]]),
    )
    return replace(frame, image=render(frame.camera, ball, WHITE).image)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = write_tiny_scene(tmp_path_factory.mktemp("data") / "tiny")
    flags = f"--method controlpoints --n_control 40 --n_knots 10 --track_iterations {STEPS}"
    return parse_train_args(["-s", str(folder), *flags.split(), "--init_rows", "500"])


@pytest.fixture(scope="module")
def followed(settings):
    """A method after its first stage on the ball's pictures."""
    frames = [picture(k) for k in range(N_MOMENTS)]
    scene = load_scene(settings.dataset, settings.model, settings.data)
    points = PointCloud(
        3 * torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) - 1.5,
        torch.full((500, 3), 0.5),
    )
    facts = SceneFacts.from_scene(replace(scene, train=frames, points=points), "dnerf")
    method = make_method(facts, settings, torch.device("cpu"), points)
    stage = method.stages()[0]
    optimizers = Optimizers(stage.params)
    batches = stage.sampler(frames, stage.name, 0, 0)
    for step in range(1, stage.iterations + 1):
        method.on_step(step)
        optimizers.set_learning_rates(step)
        seen = next(batches)
        views = [render(frame.camera, stage.pose(frame), WHITE) for frame in seen]
        sum(term(views, seen, step) for term in stage.losses).backward()
        stage.strategy.update(step, method.table, optimizers)
        optimizers.step()
    return method


def middle(gaussians):
    """Of what is drawn, by opacity and area."""
    share = gaussians.opacities * gaussians.scales[:, :1].square()
    return (share * gaussians.means).sum(0) / share.sum()


@pytest.mark.long
@pytest.mark.parametrize("time", [0.05, 0.3, 0.5, 0.75, 0.95])
def test_a_ball_that_crosses_the_scene_is_followed(followed, time):
    frame = Frame(camera(0), 0, time)
    with torch.no_grad():
        assert float((middle(followed.follow(frame)) - place(time)).norm()) < 0.25


@pytest.mark.long
@pytest.mark.parametrize("time", [0.1, 0.5, 0.9])
def test_gaussians_are_born_on_the_ball_and_ride_with_it(followed, time):
    followed.hang()
    posed = followed(Frame(camera(0), 0, time))
    away = (posed.means - place(time)).norm(dim=1)
    assert len(away) == 500
    assert float(away.detach().median()) < 0.3
    assert float((posed.means.detach().mean(0) - place(time)).norm()) < 0.3


def test_a_window_grows_from_the_middle_to_the_clip(settings):
    scene = load_scene(settings.dataset, settings.model, settings.data)
    facts = SceneFacts.from_scene(scene, settings.dataset)
    method = make_method(facts, settings, torch.device("cpu"), scene.points)
    low, high = method._window(1)
    assert (low + high) / 2 == pytest.approx(0.5)
    assert high - low == pytest.approx(0.15, abs=1e-3)
    widths = [b - a for a, b in map(method._window, range(1, STEPS + 1))]
    assert widths == sorted(widths)
    assert widths[-1] == pytest.approx(1)


def test_a_window_shows_its_own_moments_in_small_pictures():
    frames = [Frame(camera(k), k, k / (N_MOMENTS - 1)) for k in range(N_MOMENTS)]
    batches = GrowingWindow(lambda step: (0.4, 0.6), longest=16)(frames, "track", 0, 0)
    seen = [next(batches)[0] for _ in range(40)]
    assert {frame.time for frame in seen} <= {f.time for f in frames if 0.4 <= f.time <= 0.6}
    assert len({frame.time for frame in seen}) > 2
    assert {(frame.camera.width, frame.camera.height) for frame in seen} == {(16, 16)}


def test_a_window_between_two_moments_shows_the_next_ones():
    frames = [Frame(camera(k), k, float(k)) for k in (0, 1)]
    batches = GrowingWindow(lambda step: (0.4, 0.6), longest=16)(frames, "track", 0, 0)
    assert {next(batches)[0].time for _ in range(20)} == {0.0, 1.0}


def test_a_resumed_window_shows_what_the_unbroken_one_would():
    frames = [Frame(camera(k), k, k / (N_MOMENTS - 1)) for k in range(N_MOMENTS)]
    window = GrowingWindow(lambda step: (0.5 - step / 40, 0.5 + step / 40), longest=16, views=2)
    unbroken, resumed = window(frames, "track", 3, 0), window(frames, "track", 3, 7)
    for _ in range(7):
        next(unbroken)
    for _ in range(5):
        assert [f.time for f in next(unbroken)] == [f.time for f in next(resumed)]
