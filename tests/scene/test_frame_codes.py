from dataclasses import replace

import pytest
import torch

from scene import Scene
from scene.cameras import Camera, intrinsics
from scene.facts import SceneFacts
from scene.frame_codes import ConditionCode, FrameCodes
from scene.frames import NO_ROW, Frame, PointCloud

CAMERA = Camera(torch.eye(4), intrinsics(10.0, 10.0, 4.0, 4.0), 8, 8)


def frame(index, *values):
    return Frame(CAMERA, index, 0.0, expression=torch.tensor(values), flame_pose=torch.zeros(15))


@pytest.fixture
def scene():
    train = [frame(k, 10.0 * k, 5.0, 0.1 * k * k) for k in range(4)]
    points = PointCloud(torch.zeros(1, 3), torch.zeros(1, 3))
    return Scene(train, [frame(4, 70.0, 6.0, 0.3)], [], points)


def test_coefficients_are_standardised_over_the_training_frames_and_constant_ones_left_out(scene):
    code = ConditionCode(SceneFacts.from_scene(scene), ["expression"], 3)
    with torch.no_grad():
        code.layer.weight.copy_(torch.eye(3))
        code.layer.bias.zero_()
    table = torch.stack([code(f) for f in scene.train])
    assert torch.allclose(table.mean(0), torch.zeros(3), atol=1e-6)
    assert torch.allclose(table.std(0, correction=0), torch.tensor([1.0, 0.0, 1.0]), atol=1e-5)
    assert code(scene.test[0])[1] == 0  # what never varied in training has no say in the test


def test_what_leaves_the_training_is_held_a_little_beyond_it(scene):
    """What hardly varied in training is hundreds of its spreads away when it does."""
    rare = [replace(f, expression=torch.tensor([10.0 * k, 1e-3 * k, 0.0]))
            for k, f in enumerate(scene.train)]  # fmt: skip
    code = ConditionCode(SceneFacts.from_scene(replace(scene, train=rare)), ["expression"], 3)
    with torch.no_grad():
        code.layer.weight.copy_(torch.eye(3))
        code.layer.bias.zero_()
    with torch.no_grad():
        inside, ends = torch.stack([code(f) for f in rare]), code(frame(4, 12.0, 0.9, 0.0))
    assert torch.allclose(inside.amax(0)[:2], torch.full((2,), 3 / 5**0.5))  # 0, 1, 2, 3
    assert ends[0] == pytest.approx((12 - 15) / (10 * 1.25**0.5), abs=1e-5)  # as it is
    assert ends[1] == pytest.approx(3 / 5**0.5 + 1, abs=1e-5)


def test_corrections_start_at_zero_and_reach_their_own_moment_only(scene):
    codes = FrameCodes(SceneFacts.from_scene(scene), ["expression"], 0)
    for f in scene.train:
        assert torch.equal(codes.refine(f).expression, f.expression)
    with torch.no_grad():
        codes.rows["expression"][2] = 1.0
    moved = [not torch.equal(codes.refine(f).expression, f.expression) for f in scene.train]
    assert moved == [False, False, True, False]
    stranger = replace(scene.train[2], index=NO_ROW)
    assert codes.refine(stranger) is stranger


def test_a_moment_without_training_frames_gets_the_mean_latent(scene):
    codes = FrameCodes(SceneFacts.from_scene(scene), [], 2)
    with torch.no_grad():
        codes.rows["latent"].copy_(torch.arange(10.0).reshape(5, 2))
    assert torch.equal(codes.latent(scene.train[1]), torch.tensor([2.0, 3.0]))
    for f in (scene.test[0], replace(scene.test[0], index=NO_ROW)):
        assert torch.equal(codes.latent(f), torch.tensor([3.0, 4.0]))  # of rows 0 to 3


def test_the_penalty_pulls_the_rows_of_the_drawn_frames_to_zero(scene):
    codes = FrameCodes(SceneFacts.from_scene(scene), ["expression", "flame_pose"], 2)
    with torch.no_grad():
        for rows in codes.rows.values():
            rows.fill_(1.0)
    codes.size(scene.train[:2]).backward()
    for rows in codes.rows.values():
        assert (rows.grad[:2] > 0).all()
        assert (rows.grad[2:] == 0).all()
