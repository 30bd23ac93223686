"""The body under a head: at rest it stands still in the picture, its law is learned from pictures,
and head and shoulders each go their way."""

import math
from dataclasses import replace

import pytest
import torch

from arguments import parse_train_args
from scene import avatar, load_scene
from scene.cameras import Camera, intrinsics
from scene.datasets._heads import FARTHEST_TURN, with_bodies
from scene.deformation.body import COLUMN, BodyPart
from scene.facts import SceneFacts
from scene.frames import Frame, head_motion, seen_from
from scene.performance import at
from scene.world import World
from tests.building import built, facts_of
from tests.tiny_scene import write_tiny_flame_head, write_tiny_head
from utils.rotations import (
    axis_angle_to_matrices,
    nearest_rigid,
    pose_to_twist,
    quats_to_matrices,
    rigid_inverse,
    twist_to_pose,
)

MOUTH = torch.tensor([[-0.03, -0.07, 0.0], [0.03, -0.02, 0.06]])
BEFORE = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))  # the head's frame as the camera has it
BEFORE[2, 3] = 1.0


def poses(count=12, size=0.1, seed=0):
    """(count, 4, 4) where a head is that moves about its rest."""
    source = torch.Generator().manual_seed(seed)
    return [twist_to_pose(size * torch.randn(6, generator=source)) for _ in range(count)]


def filmed(moves):
    """Frames of a head before a camera that stands still, in the head's frame."""
    lens = intrinsics(50.0, 50.0, 16.0, 16.0)
    cameras = [Camera(BEFORE @ move, lens, 32, 32) for move in moves]
    still = torch.zeros(2)
    return [Frame(c, k, k / 20, expression=still) for k, c in enumerate(cameras)]


def body(frames):
    table = torch.stack([head_motion(frame.body_to_world) for frame in frames])
    return BodyPart(table.mean(0), table.std(0, correction=0), MOUTH)


def columns(*logits):
    n = len(logits)
    source = torch.Generator().manual_seed(1)
    return {
        "means": torch.randn(n, 3, generator=source),
        "quats": torch.randn(n, 4, generator=source),
        COLUMN: torch.tensor(logits)[:, None],
    }


def seen(camera, points):
    return points @ camera.viewmat[:3, :3].T + camera.viewmat[:3, 3]


@pytest.mark.parametrize("angle", [0.0, 1e-6, 1e-3, 0.4, 3.0])
def test_a_twist_comes_back_from_its_pose_and_its_gradient_is_finite(angle):
    axis = torch.nn.functional.normalize(torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64), dim=0)
    twist = torch.cat([angle * axis, torch.tensor([0.1, -2.0, 0.4], dtype=torch.float64)])
    twist.requires_grad_()
    again = pose_to_twist(twist_to_pose(twist))
    torch.testing.assert_close(again, twist, atol=1e-9, rtol=1e-9)
    (found,) = torch.autograd.grad(again @ torch.arange(1.0, 7.0, dtype=torch.float64), twist)
    torch.testing.assert_close(found, torch.arange(1.0, 7.0, dtype=torch.float64))


def test_a_body_at_rest_stands_still_before_the_camera_while_the_head_moves():
    frames, _ = with_bodies(filmed(poses()), [])
    part, rows = body(frames), columns(60.0, 60.0, -60.0)
    places, turns = [], []
    for frame in frames:
        posed = part(rows, frame.body_to_world)
        places.append(seen(frame.camera, posed["means"]))
        turns.append(frame.camera.viewmat[:3, :3] @ quats_to_matrices(posed["quats"]))
        head = seen(frame.camera, rows["means"][2])
        torch.testing.assert_close(places[-1][2], head)  # a row of weight 0 is the head's
    for place, turn in zip(places, turns, strict=True):
        torch.testing.assert_close(place[:2], places[0][:2], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(turn[:2], turns[0][:2], atol=1e-5, rtol=1e-5)
    assert (places[0][2] - places[1][2]).norm() > 0.01


def test_a_body_rests_where_the_mean_training_frame_has_it():
    frames, held_out = with_bodies(filmed(poses()), filmed(poses(seed=2)))
    places = torch.stack([f.camera.viewmat @ f.body_to_world for f in [*frames, *held_out]])
    torch.testing.assert_close(places, places[:1].expand_as(places), atol=1e-5, rtol=1e-5)
    mean = torch.stack([frame.camera.viewmat for frame in frames]).mean(0)
    torch.testing.assert_close(places[0], nearest_rigid(mean), atol=1e-5, rtol=1e-5)


def test_a_camera_that_goes_around_says_nothing_of_a_body():
    turn = torch.zeros(6)
    turn[1] = 1.1 * FARTHEST_TURN
    frames, _ = with_bodies(filmed([*poses(), twist_to_pose(turn), twist_to_pose(-turn)]), [])
    assert all(frame.body_to_world is None for frame in frames)
    frames, _ = with_bodies(filmed(poses()), [], shown=False)
    assert all(frame.body_to_world is None for frame in frames)


def test_the_law_is_found_again_from_where_the_body_went():
    """A body that follows the head by 0.3, and yields sideways when the head turns."""
    frames, _ = with_bodies(filmed(poses(12, size=0.05)), [])
    part, truth = body(frames), body(frames)
    with torch.no_grad():
        truth.law.copy_(0.3 * torch.eye(6))
        truth.law[3, 1] = 0.5
    rows = columns(*[60.0] * 6)
    search = torch.optim.LBFGS(part.parameters(), max_iter=40, line_search_fn="strong_wolfe")

    def distance():
        search.zero_grad()
        places = (frame.body_to_world for frame in frames)
        loss = sum(
            (part(rows, p)["means"] - truth(rows, p)["means"]).square().sum() for p in places
        )
        loss.backward()
        return loss

    search.step(distance)
    torch.testing.assert_close(part.law, truth.law, atol=0.01, rtol=0)


def test_gradients_of_law_weights_places_and_pose_are_those_of_finite_differences():
    place, rows = twist_to_pose(torch.linspace(-0.2, 0.3, 6)).double(), columns(0.4, -1.0, 3.0)
    part = BodyPart(torch.zeros(6), torch.full((6,), 0.1), MOUTH).double()
    rows = {name: value.double() for name, value in rows.items()}
    law = 0.3 * torch.randn(6, 6, generator=torch.Generator().manual_seed(3)).double()

    def moved(law, logits, means, quats, twist):
        own = {"means": means, "quats": quats, COLUMN: logits}
        shifted = place @ twist_to_pose(twist)
        posed = torch.func.functional_call(part, {"law": law}, (own, shifted))
        return posed["means"], posed["quats"]

    inputs = (law, rows[COLUMN], rows["means"], rows["quats"], 0.01 * torch.ones(6).double())
    assert torch.autograd.gradcheck(moved, [value.requires_grad_() for value in inputs])


def test_weights_begin_by_height_from_the_chin():
    part = BodyPart(torch.zeros(6), torch.ones(6), MOUTH)
    heights = torch.tensor([0.1, -0.02, -0.07, -0.09, -0.12, -0.3])
    start = part.start(torch.stack([torch.zeros(6), heights, torch.zeros(6)], 1))[:, 0].sigmoid()
    assert bool((start.diff() >= 0).all())
    assert float(start[1]) < 0.03  # the mouth
    assert float(start[3]) == pytest.approx(0.5, abs=0.1)
    assert float(start[-1]) > 0.97  # the shoulders


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = write_tiny_head(tmp_path_factory.mktemp("body") / "head")

    def read(*flags):
        settings = parse_train_args(["-s", str(folder), "--init_points", "30", *flags])
        return load_scene(settings.dataset, settings.model, settings.data), settings

    return read


@pytest.mark.parametrize("method", ["fourdgs", "gaussianhead"])
def test_a_method_has_a_body_where_the_pictures_show_one_and_the_setting_wants_it(tiny, method):
    scene, settings = tiny("--method", method)
    with_body, facts = built(scene, settings), facts_of(scene, settings)
    assert facts.head_motion is not None
    assert COLUMN in with_body.table.columns
    rates = [group.name for group in with_body.stages()[-1].params]
    assert {"body", COLUMN} <= set(rates)
    without = built(*tiny("--method", method, "--body_part", "false"))
    assert without.body is None
    assert COLUMN not in without.table.columns
    frame, other = scene.train[0], scene.train[5]
    moved = replace(frame, body_to_world=other.body_to_world)
    assert not torch.equal(with_body(frame).means, with_body(moved).means)
    assert torch.equal(without(frame).means, without(moved).means)


def test_a_head_that_never_moves_has_no_body(tmp_path):
    write_tiny_flame_head(tmp_path / "head")
    flags = ["-s", str(tmp_path / "head"), "--init_points", "30", "--method", "monogaussian"]
    settings = parse_train_args(flags)
    scene = load_scene(settings.dataset, settings.model, settings.data)
    assert facts_of(scene, settings).head_motion is None
    assert built(scene, settings).body is None


def test_monogaussians_points_have_a_body_where_their_head_moves(tmp_path):
    write_tiny_flame_head(tmp_path / "head")
    flags = ["-s", str(tmp_path / "head"), "--init_points", "30", "--method", "monogaussian"]
    settings = parse_train_args(flags)
    scene = load_scene(settings.dataset, settings.model, settings.data)
    moves = [twist_to_pose(0.1 * torch.tensor([0, math.sin(k), 0, 0, 0, 0])) for k in range(12)]
    train = [
        replace(f, camera=replace(f.camera, viewmat=f.camera.viewmat @ move), body_to_world=None)
        for f, move in zip(scene.train, moves, strict=True)
    ]
    scene = replace(scene, train=with_bodies(train)[0])
    method = built(scene, settings)
    frame = scene.train[3]
    apart = replace(frame, body_to_world=frame.body_to_world @ twist_to_pose(torch.full((6,), 0.1)))
    shift = (method(frame).means.detach() - method(apart).means.detach()).norm(dim=1)
    weight = method.table.columns[COLUMN].detach().sigmoid()[:, 0]
    assert float(shift[weight > 0.9].min()) > float(shift[weight < 0.1].max())


def test_a_model_of_before_the_body_part_still_opens(tiny):
    scene, settings = tiny("--method", "fourdgs")
    old = built(scene, tiny("--method", "fourdgs", "--body_part", "false")[1])
    method = built(scene, settings)
    method.load(old.state_dict())
    assert method.body is None
    frame = scene.test[0]
    assert torch.equal(method(frame).means, old(frame).means)


def test_facts_keep_where_bodies_are(tiny, tmp_path):
    scene, settings = tiny("--method", "fourdgs")
    facts = facts_of(scene, settings)
    facts.write(tmp_path)
    again = SceneFacts.read(tmp_path)
    assert torch.equal(again.head_motion.spread, facts.head_motion.spread)
    for a, b in zip(again.shown, facts.shown, strict=True):
        assert torch.equal(a.body_to_world, b.body_to_world)
    table = torch.stack([head_motion(frame.body_to_world) for frame in scene.train])
    torch.testing.assert_close(facts.head_motion.mean, table.mean(0))


def test_a_turned_head_leaves_a_body_that_one_camera_saw_before_it(tiny):
    scene, settings = tiny("--method", "fourdgs")
    facts = facts_of(scene, settings)
    before = facts.shown[0].camera.viewmat @ facts.shown[0].body_to_world
    for frame in (*avatar.turned(facts, 30.0, 4, playing=True), *scene.video):
        held = frame.camera.viewmat @ frame.body_to_world
        torch.testing.assert_close(held, before, atol=1e-4, rtol=0)


def test_a_turned_view_takes_a_body_along_that_several_cameras_saw(tiny):
    facts = facts_of(*tiny("--method", "fourdgs"))
    facts = replace(facts, n_views=2 * facts.n_views)
    for frame in avatar.turned(facts, 30.0, 4, playing=False):
        assert torch.equal(frame.body_to_world, facts.shown[0].body_to_world)


def test_a_driver_moves_head_and_body_as_its_own_do(tiny):
    scene, settings = tiny("--method", "fourdgs")
    facts = facts_of(scene, settings)
    frames = avatar.driven(facts, scene, subtract_mean=False, clamp=False)
    every = sorted([*scene.train, *scene.test], key=lambda frame: frame.time)
    for frame, source in zip(frames, every, strict=True):  # its own driver: its own performance
        torch.testing.assert_close(frame.body_to_world, source.body_to_world, atol=1e-4, rtol=0)
        torch.testing.assert_close(frame.camera.viewmat, source.camera.viewmat, atol=1e-3, rtol=0)
    clamped = avatar.driven(facts, scene, subtract_mean=False, clamp=True)
    most = torch.stack([head_motion(frame.body_to_world) for frame in clamped]).amax(0)
    assert bool((most <= facts.head_motion.high + 1e-4).all())


def test_a_performance_in_other_units_moves_the_body_as_far(tiny):
    scene, settings = tiny("--method", "fourdgs")
    facts = replace(facts_of(scene, settings), world=World(unit=2.0))
    frames = avatar.reenacted(facts, scene, clamp=False)
    sources = sorted([*scene.train, *scene.test], key=lambda frame: frame.time)
    for frame, source in zip(frames, sources, strict=True):
        there, here = source.body_to_world, frame.body_to_world
        torch.testing.assert_close(here[:3, :3], there[:3, :3])
        torch.testing.assert_close(here[:3, 3], there[:3, 3] / 2)


def test_between_two_moments_the_body_stays_rigid(tiny):
    pose = at(facts_of(*tiny("--method", "fourdgs")), 0.4).body_to_world
    torch.testing.assert_close(pose[:3, :3] @ pose[:3, :3].T, torch.eye(3), atol=1e-5, rtol=0)


def test_a_corrected_camera_moves_the_head_and_not_the_body():
    frames, _ = with_bodies(filmed(poses()), [])
    frame, turn = frames[0], torch.eye(4)
    turn[:3, :3] = axis_angle_to_matrices(torch.tensor([0.1, 0.0, 0.2]))
    moved = replace(frame.camera, viewmat=turn @ frame.camera.viewmat)
    again = seen_from(frame, moved)
    torch.testing.assert_close(
        moved.viewmat @ again.body_to_world, frame.camera.viewmat @ frame.body_to_world
    )
    torch.testing.assert_close(rigid_inverse(turn) @ turn, torch.eye(4))


def test_cameras_of_a_rig_see_one_body_at_rest():
    """Families of several cameras say where the head is among them; the readers pass that on."""
    heads, aside = poses(), twist_to_pose(torch.tensor([0.0, 0.8, 0.0, 0.3, 0.0, 0.1]))
    rig = []
    for camera in (BEFORE, BEFORE @ aside):
        for frame, head in zip(filmed(heads), heads, strict=True):
            view = replace(frame.camera, viewmat=camera @ head)
            rig.append(replace(frame, camera=view, body_to_world=rigid_inverse(head)))
    found, _ = with_bodies(rig, [])
    for one, other in zip(found[: len(heads)], found[len(heads) :], strict=True):
        torch.testing.assert_close(one.body_to_world, other.body_to_world)
    for camera, frames in ((BEFORE, found[: len(heads)]), (BEFORE @ aside, found[len(heads) :])):
        still = torch.stack([f.camera.viewmat @ f.body_to_world for f in frames])
        torch.testing.assert_close(still, still[:1].expand_as(still), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(still[0], camera @ nearest_rigid(torch.stack(heads).mean(0)))
