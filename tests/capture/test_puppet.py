"""What drives an avatar: means are exchanged, ranges hold, and heads turn about their necks."""

from types import SimpleNamespace

import pytest
import torch

from capture.puppet import LEAST, Puppet
from scene.cameras import Camera
from scene.facts import Statistics
from scene.frames import Frame
from utils.errors import InputError
from utils.rotations import axis_angle_to_matrices

NECK = torch.tensor([0.0, -0.3, -0.1])
K = torch.tensor([[200.0, 0, 64], [0, 200.0, 64], [0, 0, 1]])


def statistics(mean, half):
    mean = torch.tensor(mean)
    return Statistics(mean, torch.full_like(mean, half), mean - half, mean + half)


@pytest.fixture
def facts():
    """An avatar whose world is its head's frame; its head was turned when the video began."""
    viewmat = torch.eye(4)
    viewmat[:3, :3] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    viewmat[2, 3] = 4.0
    pose = torch.zeros(15)
    pose[4] = 0.1
    camera = Camera(viewmat, K, 128, 128)
    body = torch.eye(4)
    body[:3, 3] = torch.tensor([0.1, -0.5, 0.0])
    base = Frame(camera, 3, 0.5, expression=torch.zeros(2), flame_pose=pose, body_to_world=body)
    conditions = {
        "expression": statistics([0.2, 0.4], 0.3),
        "flame_pose": statistics([0.0] * 15, 0.5),
    }
    return SimpleNamespace(conditions=conditions, shown=[base])


def rest(expression=(0.5, 0.5)):
    return torch.tensor(expression), torch.zeros(15)


def test_the_driver_s_mean_becomes_the_avatar_s(facts):
    puppet = Puppet(facts, rest(), NECK)
    frame = puppet.frame(torch.tensor([0.5, 0.6]), torch.zeros(15))
    assert frame.expression.tolist() == pytest.approx([0.2, 0.5])


def test_what_leaves_the_training_range_is_held(facts):
    puppet = Puppet(facts, rest(), NECK)
    pose = torch.zeros(15)
    pose[6] = 3.0
    frame = puppet.frame(torch.tensor([5.0, -5.0]), pose)
    assert frame.expression.tolist() == pytest.approx([0.5, 0.1])
    assert frame.flame_pose[6].item() == pytest.approx(0.5)
    free = Puppet(facts, rest(), NECK, clamp=False).frame(torch.tensor([5.0, -5.0]), pose)
    assert free.flame_pose[6].item() == pytest.approx(3.0)


def test_a_range_of_nothing_still_lets_a_little_through(facts):
    facts.conditions["expression"] = statistics([0.2, 0.4], 0.0)
    frame = Puppet(facts, rest(), NECK).frame(torch.tensor([0.9, 0.5]), torch.zeros(15))
    assert frame.expression.tolist() == pytest.approx([0.2 + LEAST, 0.4])


def test_the_face_can_be_taken_as_it_is(facts):
    puppet = Puppet(facts, rest(), NECK, subtract_mean=False)
    assert puppet.frame(torch.tensor([0.3, 0.3]), torch.zeros(15)).expression.tolist() == (
        pytest.approx([0.3, 0.3])
    )


def turned(pose, point):
    """A head's point where a turn about the neck takes it."""
    return axis_angle_to_matrices(pose[3:6]) @ (point - NECK) + NECK


def test_a_turn_is_seen_as_a_turn_about_the_neck(facts):
    pose = torch.zeros(15)
    pose[3:6] = torch.tensor([0.1, -0.3, 0.05])
    frame = Puppet(facts, rest(), NECK).frame(torch.tensor([0.5, 0.5]), pose)
    base, nose = facts.shown[0], torch.tensor([0.0, 0.0, 0.4])
    # Where the room's camera sees the turned nose: undo the turn that the first frame had.
    room = base.camera.viewmat @ torch.linalg.inv(homogeneous(base.flame_pose))
    wanted = room[:3, :3] @ turned(pose, nose) + room[:3, 3]
    found = frame.camera.viewmat[:3, :3] @ nose + frame.camera.viewmat[:3, 3]
    assert found.tolist() == pytest.approx(wanted.tolist(), abs=1e-5)


def test_the_body_stays_before_the_camera(facts):
    pose = torch.zeros(15)
    pose[3:6] = torch.tensor([0.1, -0.3, 0.05])
    frame = Puppet(facts, rest(), NECK).frame(torch.tensor([0.5, 0.5]), pose)
    base = facts.shown[0]
    before = base.camera.viewmat @ base.body_to_world
    after = frame.camera.viewmat @ frame.body_to_world
    assert torch.allclose(before, after, atol=1e-5)


def test_another_number_of_coefficients_is_refused(facts):
    with pytest.raises(InputError, match=r"gives 3 expression coefficients, the avatar .* on 2"):
        Puppet(facts, (torch.zeros(3), torch.zeros(15)), NECK)


def test_a_model_without_expressions_is_refused(facts):
    facts.conditions.pop("expression")
    with pytest.raises(InputError, match="knows no expressions"):
        Puppet(facts, rest(), NECK)


def homogeneous(pose):
    place = torch.eye(4)
    place[:3, :3] = axis_angle_to_matrices(pose[3:6])
    place[:3, 3] = NECK - place[:3, :3] @ NECK
    return place
