"""Learned corrections of cameras: gradients reach them, and a known displacement is found again."""

from dataclasses import replace

import pytest
import torch

from gaussian_renderer import render
from scene import Scene
from scene.cameras import Camera, intrinsics
from scene.facts import SceneFacts
from scene.frame_codes import FrameCodes
from scene.frames import NO_ROW, Frame, PointCloud
from scene.gaussian_model import Gaussians
from scene.paths import look_at
from training.optimizers import Optimizers, ParamGroup
from training.schedules import log_linear
from utils.rotations import axis_angle_to_matrices

BLACK, N = torch.zeros(3), 150
TURN, SHIFT = torch.tensor([0.02, -0.015, 0.03]), torch.tensor([0.05, 0.03, -0.06])


@pytest.fixture
def gaussians():
    """Coloured blobs at many depths in a cube of side 2 about the origin."""
    source = torch.Generator().manual_seed(0)
    return Gaussians(
        means=2 * torch.rand(N, 3, generator=source) - 1,
        quats=torch.nn.functional.normalize(torch.randn(N, 4, generator=source), dim=1),
        scales=0.06 + 0.08 * torch.rand(N, 3, generator=source),
        opacities=torch.full((N, 1), 0.8),
        colors=torch.rand(N, 3, generator=source),
    )


def camera_at(x, y, z):
    view = look_at(torch.tensor([x, y, z]), torch.zeros(3), torch.tensor([0.0, 1.0, 0.0]))
    return Camera(view, intrinsics(60.0, 60.0, 32.0, 32.0), 64, 64)


def displaced(camera):
    """The camera after a small motion in its own axes."""
    motion = torch.eye(4)
    motion[:3, :3], motion[:3, 3] = axis_angle_to_matrices(TURN), SHIFT
    return replace(camera, viewmat=motion @ camera.viewmat)


@pytest.fixture
def frames():
    """What the dataset says: the second camera is not where its picture was taken."""
    true = [camera_at(0.0, 0.5, 3.0), camera_at(2.5, 0.2, 1.5), camera_at(-2.0, 1.0, 2.0)]
    cameras = [true[0], displaced(true[1]), true[2]]
    return [Frame(camera, k, k / 2) for k, camera in enumerate(cameras)], true


def codes_for(frames):
    points = PointCloud(torch.zeros(1, 3), torch.zeros(1, 3))
    return FrameCodes(SceneFacts.from_scene(Scene(frames, [], [], points)), ["camera"], 0)


def loss_of(frame, codes, gaussians, truth):
    view = render(codes.refine(frame).camera, gaussians, BLACK)
    return (view.image - truth).square().mean()


def test_an_unlearned_correction_leaves_every_camera_as_it_is(frames):
    codes = codes_for(frames[0])
    for frame in frames[0]:
        assert torch.equal(codes.refine(frame).camera.viewmat, frame.camera.viewmat)
    stranger = replace(frames[0][0], index=NO_ROW)
    assert codes.refine(stranger) is stranger


def test_gradients_of_a_twist_equal_finite_differences_and_reach_its_own_moment_only(
    frames, gaussians
):
    (_, frame, _), true = frames
    codes, truth = codes_for(frames[0]), render(true[1], gaussians, BLACK).image.detach()
    twist = codes.rows["camera"]
    loss_of(frame, codes, gaussians, truth).backward()
    assert not twist.grad[[0, 2]].any()
    numeric, step = torch.zeros(6), 2e-3
    for k in range(6):
        ends = []
        for way in (step, -step):
            with torch.no_grad():
                twist[1, k] = way
                ends.append(loss_of(frame, codes, gaussians, truth).double().item())
                twist[1, k] = 0
        numeric[k] = (ends[0] - ends[1]) / (2 * step)
    torch.testing.assert_close(
        twist.grad[1], numeric, rtol=0.05, atol=0.02 * numeric.abs().max().item()
    )


@pytest.mark.long
def test_a_displaced_camera_is_found_again_within_a_tenth_of_its_displacement(frames, gaussians):
    given, true = frames
    codes = codes_for(given)
    truths = [render(camera, gaussians, BLACK).image.detach() for camera in true]
    rate = log_linear(5e-3, 2e-4, 300)
    optimizers = Optimizers([ParamGroup("frames", codes.parameters, rate, rows="touched")])
    for step in range(1, 301):
        optimizers.set_learning_rates(step)
        loss_of(given[1], codes, gaussians, truths[1]).backward()
        optimizers.step()
    found, meant, start = (
        torch.linalg.inv(camera.viewmat)
        for camera in (codes.refine(given[1]).camera, true[1], given[1].camera)
    )
    assert (found[:3, 3] - meant[:3, 3]).norm() < 0.1 * (start[:3, 3] - meant[:3, 3]).norm()
    assert angle_between(found, meant) < 0.1 * angle_between(start, meant)
    assert not codes.rows["camera"][[0, 2]].any()


def angle_between(a, b):
    """Radians between two orientations; by the chord, which tells small angles apart."""
    return 2 * torch.asin((a[:3, :3] - b[:3, :3]).double().norm() / 8**0.5).item()
