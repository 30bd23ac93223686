"""4DGS on control points: what is followed, what is checked, what is chosen, what rides."""

import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from arguments import load_settings, parse_train_args
from gaussian_renderer import render
from scene import load_scene
from scene.cameras import Camera
from scene.deformation import spin
from scene.facts import SceneFacts
from scene.frames import Frame, PointCloud
from scene.gaussian_model import Gaussians
from scene.methods import make_method, open_model
from scene.methods._carrier import Carrier
from tests import balls
from tests.building import built
from tests.tiny_scene import write_tiny_head, write_tiny_scene
from train import train
from training.optimizers import Optimizers
from training.samplers import GrowingWindow, moments_apart
from utils.errors import InputError
from utils.rotations import axis_angle_to_matrices

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
def picture(k, *, moving=True):
    time = k / (N_MOMENTS - 1)
    frame = Frame(camera(k), k, time, background=WHITE)
    ball = Gaussians(
        means=place(time if moving else 0.5)[None],
        quats=torch.tensor([[1.0, 0, 0, 0]]),
        scales=torch.full((1, 3), 0.15),
        opacities=torch.full((1, 1), 0.95),
        colors=torch.tensor([[0.9, 0.1, 0.2]]),
    )
    return replace(frame, image=render(frame.camera, ball, WHITE).image)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = write_tiny_scene(tmp_path_factory.mktemp("data") / "tiny")
    flags = f"--follow auto --n_control 40 --n_knots 10 --track_iterations {STEPS}"
    flags += " --coarse_iterations 200 --init_rows 500 --lambda_l1_coarse 0 --lambda_l2_coarse 1"
    return parse_train_args(["-s", str(folder), "--method", "fourdgs", *flags.split()])


def built_on(settings, frames):
    """A method of these frames."""
    scene = load_scene(settings.dataset, settings.model, settings.data)
    points = PointCloud(
        3 * torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) - 1.5,
        torch.full((500, 3), 0.5),
    )
    facts = SceneFacts.from_scene(replace(scene, train=frames, points=points), "dnerf")
    return make_method(facts, settings, torch.device("cpu"), points)


def before_the_choice(settings, frames):
    """A method after its stages of these frames but the last one."""
    method = built_on(settings, frames)
    for stage in method.stages()[:-1]:
        stage.begin()
        optimizers = Optimizers(stage.params)
        batches = stage.sampler(frames, stage.name, 0, 0)
        for step in range(1, stage.iterations + 1):
            method.on_step(step)
            optimizers.set_learning_rates(step)
            seen = next(batches)
            views = [render(frame.camera, stage.pose(frame), WHITE) for frame in seen]
            if stage.losses:
                sum(term(views, seen, step) for term in stage.losses).backward()
            with torch.no_grad():
                stage.look(views, seen, step)
            stage.strategy.update(step, method.table, optimizers)
            optimizers.step()
    return method


@pytest.fixture(scope="module")
def followed(settings):
    """After the ball's pictures, chosen."""
    method = before_the_choice(settings, [picture(k) for k in range(N_MOMENTS)])
    said = method.choose(200)
    return method, said


def middle(gaussians):
    """Of what is drawn, by opacity and area."""
    share = gaussians.opacities * gaussians.scales[:, :1].square()
    return (share * gaussians.means).sum(0) / share.sum()


@pytest.mark.long
@pytest.mark.parametrize("time", [0.05, 0.3, 0.5, 0.75, 0.95])
def test_a_ball_that_crosses_the_scene_is_followed(followed, time):
    frame = Frame(camera(0), 0, time)
    with torch.no_grad():
        assert float((middle(followed[0].follow(frame)) - place(time)).norm()) < 0.25


@pytest.mark.long
@pytest.mark.parametrize("time", [0.1, 0.5, 0.9])
def test_gaussians_are_born_on_the_ball_and_ride_with_it(followed, time):
    posed = followed[0](Frame(camera(0), 0, time))
    away = (posed.means - place(time)).norm(dim=1)
    assert len(away) == 500
    assert float(away.detach().median()) < 0.3
    assert float((posed.means.detach().mean(0) - place(time)).norm()) < 0.3


@pytest.mark.long
def test_the_points_that_matter_are_shown_on_the_ball(followed):
    points, numbers = followed[0].carriers(Frame(camera(0), 0, 0.2))
    away = (points - place(0.2)).norm(dim=1)
    assert (tuple(points.shape), numbers) == ((40, 3), [])
    assert float(away.median()) < 0.3


@pytest.mark.long
def test_what_follows_the_ball_is_chosen_and_said(followed):
    method, said = followed
    *still, points = method.carrier.errors.tolist()
    still = min(still)
    assert points < still / 4
    assert said == (
        f"held-out moments: {-10 * math.log10(still):.1f} dB standing still, "
        f"{-10 * math.log10(points):.1f} dB followed; Gaussians ride on 40 control points"
    )


def test_points_that_carry_are_sharpened_on_all_moments_and_others_are_not(settings):
    optim = replace(settings.optim, sharpen_iterations=5)
    frames = [picture(k) for k in range(N_MOMENTS)]
    method = built_on(replace(settings, optim=optim), frames)
    *_, check, sharpen, fine = method.stages()
    assert (check.name, sharpen.name, fine.name) == ("check", "sharpen", "fine")
    batches = sharpen.sampler(frames, "sharpen", 0, 0)
    assert {next(batches)[0].time for _ in frames} == {frame.time for frame in frames}
    method.carrier.errors.copy_(torch.tensor([0.1, 0.2, 0.01]))
    assert sharpen.begin() == "held-out moments: 10.0 dB standing still, 20.0 dB followed"
    assert sharpen.needed()
    method.carrier.errors[2] = 0.1
    assert sharpen.begin().endswith("; nothing is followed")
    assert not sharpen.needed()
    assert fine.begin() == ""


def test_gaussians_that_ride_are_densified_from_a_threshold_of_their_own(settings):
    optim = replace(
        settings.optim,
        densify_grad_threshold_fine_init=1e-4,
        densify_grad_threshold_after=1e-4,
        riding_grad_threshold=3e-4,
    )
    method = built_on(replace(settings, optim=optim), [picture(k) for k in range(N_MOMENTS)])
    chosen, pulls = method.stages()[-1].strategy.settings.choose, torch.tensor([2e-4, 4e-4])
    assert chosen(pulls, 10).tolist() == [True, True]
    method.carrier.carries = True
    assert chosen(pulls, 10).tolist() == [False, True]


@pytest.mark.long
def test_of_a_ball_at_rest_nothing_is_followed(settings):
    method = before_the_choice(settings, [picture(k, moving=False) for k in range(N_MOMENTS)])
    assert method.choose(200).endswith("; nothing is followed")
    assert len(method.carrier.points) == 0
    assert method.table.columns["blend"].shape == (len(method.table), 0)


def test_a_window_grows_from_the_middle_to_the_clip(settings):
    low, high = settings.optim.window_at(1)
    assert (low + high) / 2 == pytest.approx(0.5)
    assert high - low == pytest.approx(0.15, abs=1e-3)
    widths = [b - a for a, b in map(settings.optim.window_at, range(1, STEPS + 1))]
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


def test_one_moment_in_eight_is_held_out_with_all_its_frames():
    frames = [Frame(camera(k), k, (k // 2) / 16) for k in range(34)]
    held, kept = moments_apart(8)
    assert {frame.time for frame in held(frames)} == {4 / 16, 12 / 16}
    assert len(held(frames)) == 4
    assert {id(frame) for frame in held(frames) + kept(frames)} == {id(frame) for frame in frames}
    assert not {frame.time for frame in held(frames)} & {frame.time for frame in kept(frames)}


def test_of_a_clip_of_four_moments_none_is_held_out():
    frames = [Frame(camera(k), k, k / 3) for k in range(4)]
    held, kept = moments_apart(8)
    assert held(frames) == kept(frames) == frames


def trained(folder, out, flags):
    """The last model of a short run, its tensors by name, and its notes."""
    argv = ["-s", str(folder), "-m", str(out), "--method", "fourdgs", "--quiet", *flags.split()]
    model = train(parse_train_args(argv)) / "model.safetensors"
    rows = (json.loads(line) for line in (out / "log.jsonl").read_text().splitlines())
    return load_file(model), [row["note"] for row in rows if "note" in row]


SHORT = (
    "--coarse_iterations 20 --track_iterations 20 --iterations 24 --multires 1 --init_points 300 "
    "--n_control 20 --init_rows 200 --densify_from_iter 5 --densification_interval 5 "
    "--thin_share 0.2"
)


def test_where_nothing_is_followed_it_is_4dgs_to_the_byte(settings, tmp_path):
    folder = settings.model.source_path
    plain, _ = trained(folder, tmp_path / "plain", SHORT)
    flags = f"{SHORT} --follow auto --follow_gain 99 --sharpen_iterations 3"
    still, notes = trained(folder, tmp_path / "still", flags)
    assert all(torch.equal(still[name], value) for name, value in plain.items())
    assert {name.split(".")[0] for name in still.keys() - plain.keys()} == {"carrier", "table"}
    assert all(len(still[name]) == 0 for name in still if name.startswith("carrier.points"))
    assert notes[0].endswith("; nothing is followed")
    assert notes[1].endswith(" are under a tenth of a pixel")


@pytest.mark.parametrize(("follow", "points"), [("auto --follow_gain 99", 0), ("always", 20)])
def test_the_choice_is_saved_and_a_stopped_run_goes_on_to_the_same_bytes(
    settings, tmp_path, follow, points
):
    flags = f"{SHORT} --follow {follow} --sharpen_iterations 3 --spin_turns 1"
    flags += " --checkpoint_iterations"
    folder = settings.model.source_path
    whole, _ = trained(folder, tmp_path / "whole", f"{flags} 12")
    start = f"--start_checkpoint {tmp_path / 'whole/checkpoints/fine_12'}"
    resumed, notes = trained(folder, tmp_path / "resumed", f"{flags} 12 {start}")
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    assert len(whole["carrier.points.columns.means"]) == points
    assert bool(whole["carrier.carrying"]) == (points > 0)
    _, model = open_model(load_settings(tmp_path / "whole/config.json"), -1, torch.device("cpu"))
    assert model.rides == model.antialiased == (points > 0)
    assert not any("held-out" in note for note in notes)  # it was chosen before


def test_who_is_driven_by_an_expression_cannot_follow(tmp_path):
    folder = write_tiny_head(tmp_path / "head")
    flags = ["--method", "fourdgs", "--expression_input", "true", "--follow", "auto"]
    settings = parse_train_args(["-s", str(folder), *flags])
    scene = load_scene(settings.dataset, settings.model, settings.data)
    with pytest.raises(InputError, match=r"nothing of expression and the body, .* follow to never"):
        built(scene, settings)


def spinning(turn):
    """A carrier whose points are a ball that looks as if it turned so, and what spins."""
    box = torch.tensor([-2.0, -2, -2]), torch.tensor([2.0, 2, 2])
    carrier = Carrier(box, n_points=30, n_knots=10, n_nearest=4, seed=0)
    c, away = carrier.points.columns, spin.spots()
    with torch.no_grad():  # twenty on a sphere, at rest; their second moment is the ball's
        c["means"].copy_(torch.full_like(c["means"], 9.0))
        c["means"][:20] = balls.centre(0) + math.sqrt(3 / 5) * balls.RADIUS * away[::6]
        c["log_scales"].fill_(math.log(1e-3))
        c["opacity_logits"].fill_(2.0)
        c["opacity_logits"][20:] = -9.0
    times = torch.linspace(0, 1, balls.N_LOOKS).tolist()
    carrier.part(len(times))
    for step, time in enumerate(times, start=1):
        image = balls.picture(step, time, turn, balls.patches, balls.centre(0))
        carrier.look(Frame(balls.camera(step), step, time, image=image), step)
    found = carrier.spin_up(2.5)
    assert len(carrier.looks) == 0
    return carrier, found


def test_a_ball_whose_pictures_say_so_spins_with_its_gaussians():
    turn = torch.tensor([-6.0, 5.0, 11.0])
    carrier, found = spinning(turn)
    assert found == pytest.approx([float(turn.norm()) / (2 * math.pi)], abs=0.1)
    carrier.hang()
    born = carrier.born(50, 0, 1.0)
    riding = born.pop("riding")
    rest = born["means"] - balls.centre(0)
    for time in (0.3, 0.9):
        rotation = axis_angle_to_matrices(turn * (time - 0.5))
        with torch.no_grad():
            posed = carrier.ride(born, riding, time)["means"] - balls.centre(0)
        off = (posed - rest @ rotation.T).norm(dim=1).max()
        assert float(off.detach()) < 0.3 * balls.RADIUS


def test_what_turns_by_less_than_once_is_left_to_the_splines():
    carrier, found = spinning(torch.tensor([2.0, -3.0, 0.0]))
    assert (found, carrier.spins) == ([], False)


def test_what_spins_has_no_neighbours_that_do_not():
    box = torch.tensor([-1.0, -1, -1]), torch.tensor([1.0, 1, 1])
    carrier = Carrier(box, n_points=40, n_knots=10, n_nearest=4, seed=0)
    fixed = carrier.points.fixed
    with torch.no_grad():
        carrier.points.columns["opacity_logits"].fill_(2.0)
    fixed.thing.copy_(torch.arange(40) % 3)
    fixed.spin[fixed.thing == 1] = torch.tensor([0.0, 9.0, 0.0])
    carrier.hang()
    spins = fixed.thing == 1
    assert torch.equal(spins[fixed.nearest], spins[:, None].expand(-1, 4))
    still = fixed.nearest[~spins]
    assert (fixed.thing[still] != fixed.thing[~spins][:, None]).any()  # among these, any may be
