"""Posed Gaussians that are kept: the same to the bit, posed once, within a budget."""

from dataclasses import fields, replace

import pytest
import torch

from arguments import parse_render_args
from gaussian_renderer.kept import Kept, come_again
from gaussian_renderer.show import Show
from scene.cameras import Camera, intrinsics
from scene.facts import CARRIED
from scene.frames import Frame, FrameLoader
from scene.gaussian_model import Gaussians
from scene.methods import open_model
from tests.methods import CASES, EVERY
from utils.devices import CPU

CAMERA = Camera(torch.eye(4), intrinsics(20.0, 20.0, 16.0, 12.0), 32, 24)
ASIDE = replace(
    CAMERA, viewmat=torch.eye(4).index_put((torch.tensor(0), torch.tensor(3)), torch.tensor(0.5))
)
N = 1_024
MOVES = N * 3 * 4  # bytes of what a moment changes here
STAYS = N * (4 + 3 + 1 + 3) * 4


class Counts:
    """A model of N Gaussians that go where the time says and of which nothing else changes."""

    background = torch.zeros(3)
    antialiased = False
    sees_camera = False

    def __init__(self):
        self.calls = 0

    def prepare(self, frame):
        return frame

    def __call__(self, frame):
        self.calls += 1
        rest = [torch.ones(N, 4), torch.ones(N, 3), torch.ones(N, 1)]
        return Gaussians(torch.full((N, 3), frame.time), *rest, colors=torch.ones(N, 3))


def same(one, other):
    return all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        for a, b in ((getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    )


def test_a_moment_is_posed_once_from_whatever_side_it_is_seen():
    model = Counts()
    pose = Kept(model, budget_mb=1)
    frame = Frame(CAMERA, 0, 0.25)
    first = pose(frame)
    assert pose(replace(frame, camera=ASIDE, image=torch.zeros(3, 24, 32))) is first
    assert model.calls == 1
    model.sees_camera = True
    assert pose(frame) is not first
    pose(replace(frame, camera=ASIDE))
    pose(frame)
    assert model.calls == 3


def test_frames_say_whether_a_moment_comes_again():
    model = Counts()
    sides = [Frame(CAMERA, 0, 0.5), Frame(ASIDE, 0, 0.5)]
    assert come_again(model, sides)
    assert not come_again(model, [Frame(CAMERA, 0, 0.5), Frame(CAMERA, 0, 0.25)])
    model.sees_camera = True
    assert not come_again(model, sides)


@pytest.mark.parametrize("name", ["time", "index", *CARRIED])
def test_another_moment_is_posed_anew(name):
    model = Counts()
    pose = Kept(model, budget_mb=1)
    told = {field: torch.zeros(4) for field in CARRIED}
    frame = Frame(CAMERA, 0, 0.25, **told)
    others = {"time": [0.5], "index": [1]}.get(name, [torch.tensor([0.0, 0.0, 1e-6, 0.0]), None])
    for other in others:
        pose(frame)
        pose(replace(frame, **{name: other}))
    assert model.calls == 1 + len(others)


def test_what_no_moment_changes_is_held_once():
    pose = Kept(Counts(), budget_mb=1)
    held = [pose(Frame(CAMERA, k, k / 8)) for k in range(8)]
    assert all(each.quats is held[0].quats and each.colors is held[0].colors for each in held)
    assert pose.used == STAYS + 8 * MOVES
    assert [float(each.means[0, 0]) for each in held] == [k / 8 for k in range(8)]


def test_a_loop_that_does_not_fit_is_kept_in_part_and_within_the_budget():
    model = Counts()
    pose = Kept(model, budget_mb=1)
    fits = (2**20 - STAYS - MOVES) // MOVES
    loop = [Frame(CAMERA, k, k / fits) for k in range(fits * 5 // 4)]
    for _ in range(4):
        for frame in loop:
            assert same(pose(frame), Counts()(frame))
            assert pose.used <= 2**20
    assert len(loop) < model.calls < 3 * len(loop)  # the oldest first would pose all four times


def test_without_a_budget_every_view_is_posed():
    model = Counts()
    pose = Kept(model, budget_mb=0)
    for _ in range(3):
        assert same(pose(Frame(CAMERA, 0, 0.5)), Counts()(Frame(CAMERA, 0, 0.5)))
    assert model.calls == 3


@pytest.mark.long
@pytest.mark.parametrize("name", EVERY)
def test_every_method_says_whether_it_sees_the_camera_and_is_kept_to_the_bit(name, small_models):
    """Views of the first moment from all cameras of the video, and of other moments between: those
    of `Kept` are those that the method poses anew for each."""
    model = small_models(CASES[name]) / "model"
    settings, _ = parse_render_args(["--model_path", str(model)])
    facts, method = open_model(settings, -1, CPU)
    show = Show(method, FrameLoader(0, CPU))
    pose = Kept(method, budget_mb=64)
    frames = [replace(facts.shown[0], camera=frame.camera) for frame in facts.video[:3]]
    frames = [*frames, *facts.shown[:4], *frames, *facts.shown[:4]]
    seen = [show.load(frame) for frame in frames]
    with torch.no_grad():
        found = [pose(frame) for frame in seen]  # all of them before any is compared
        assert all(same(each, method(frame)) for each, frame in zip(found, seen, strict=True))
        views = [method(frame) for frame in seen[:3]]
    assert method.sees_camera == (not all(same(views[0], each) for each in views))
