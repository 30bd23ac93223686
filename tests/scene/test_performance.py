import math
from dataclasses import replace

import pytest
import torch

from scene import performance
from scene.cameras import Camera, intrinsics
from scene.facts import SceneFacts
from scene.frames import NO_ROW, Frame
from utils.errors import InputError
from utils.rotations import axis_angle_to_matrices

CAMERA = Camera(torch.eye(4), intrinsics(10.0, 10.0, 4.0, 4.0), 8, 8)


def facts(frames):
    zero = torch.zeros(3)
    return SceneFacts(
        family="", box=torch.zeros(2, 3), middle=zero, extent=1.0, n_views=1, n_moments=9,
        trained=torch.tensor([0]), up=zero, eye=zero, fps=30.0, shown=frames,
    )  # fmt: skip


def test_a_scene_of_times_alone_is_shown_at_any_time():
    known = facts([Frame(CAMERA, 3, 0.25), Frame(CAMERA, 7, 0.75)])
    for part in (0.0, 0.4, 1.0):
        frame = performance.at(known, part)
        assert (frame.time, frame.index) == (part, NO_ROW)


def test_a_clip_is_played_in_as_many_moments_as_wanted_from_its_first_to_its_last():
    known = facts([Frame(CAMERA, 3, 0.25), Frame(CAMERA, 7, 0.75)])
    assert [frame.time for frame in performance.played(known, 5)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert [frame.time for frame in performance.played(known, 1)] == [0.0]


def test_a_moment_is_shown_from_the_places_of_the_video():
    places = [replace(CAMERA, near=1.0 + k) for k in range(8)]
    video = [Frame(camera, NO_ROW, k / 7) for k, camera in enumerate(places)]
    known = replace(facts([Frame(CAMERA, 3, 0.25)]), video=video)
    frames = performance.frozen(known, 0.4)
    assert [frame.camera for frame in frames] == places
    assert {frame.time for frame in frames} == {0.4}
    sheet = performance.from_all_sides(known, 3, 4)
    assert [frame.time for frame in sheet] == [0.0] * 4 + [0.5] * 4 + [1.0] * 4
    assert [frame.camera for frame in sheet] == places[::2] * 3


def test_what_frames_carry_is_between_its_neighbours():
    rows = [torch.tensor([float(k), -2.0 * k]) for k in range(3)]
    known = facts([Frame(CAMERA, k, 0.1 * k, expression=row) for k, row in enumerate(rows)])
    for part, k in ((0.0, 0), (0.5, 1), (1.0, 2)):
        assert torch.equal(performance.at(known, part).expression, rows[k])
    frame = performance.at(known, 0.625)  # a quarter of the way from the second to the third
    torch.testing.assert_close(frame.expression, torch.tensor([1.25, -2.5]))
    assert math.isclose(frame.time, 0.125)


def test_a_head_between_two_poses_stands_upright_and_rigid():
    poses = torch.eye(4).repeat(2, 1, 1)
    poses[1, :3, :3] = axis_angle_to_matrices(torch.tensor([0.0, 0.0, 1.0]))
    poses[1, 0, 3] = 2.0
    known = facts([Frame(CAMERA, k, 0.0, head_to_world=pose) for k, pose in enumerate(poses)])
    pose = performance.at(known, 0.5).head_to_world
    half = axis_angle_to_matrices(torch.tensor([0.0, 0.0, 0.5]))
    torch.testing.assert_close(pose[:3, :3], half, atol=1e-6, rtol=0)
    assert pose[0, 3] == 1.0


def test_a_single_moment_lasts():
    known = facts([Frame(CAMERA, 0, 0.0, expression=torch.ones(2))])
    assert torch.equal(performance.at(known, 0.7).expression, torch.ones(2))


def test_a_moment_that_is_not_there_is_refused_with_the_last_one():
    other = replace(CAMERA, width=9)
    known = facts([Frame(CAMERA, 0, 0.0), Frame(other, 1, 0.5)])
    frame = performance.shown_moment(known, 1)
    assert (frame.time, frame.camera) == (0.5, CAMERA)
    with pytest.raises(InputError, match="--frame 2: the model knows the moments 0 to 1"):
        performance.shown_moment(known, 2)
