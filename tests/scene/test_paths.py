import math

import pytest
import torch

from scene.cameras import Camera, intrinsics
from scene.paths import common_up, extent, focus, look_at, orbit, spiral, swayed, swung, tour

K = intrinsics(100.0, 110.0, 32.0, 24.0)


def camera_at(eye, target=(0.0, 0.0, 0.0)):
    viewmat = look_at(torch.tensor(eye), torch.tensor(target), torch.tensor([0.0, 0.0, 1.0]))
    return Camera(viewmat, K, 64, 48)


def test_look_at_puts_the_target_on_the_axis_and_the_sky_up():
    camera = camera_at((3.0, 2.0, 1.0), (0.5, 0.0, 0.0))
    target = camera.viewmat @ torch.tensor([0.5, 0.0, 0.0, 1.0])
    above = camera.viewmat @ torch.tensor([0.5, 0.0, 0.3, 1.0])
    torch.testing.assert_close(target[:2], torch.zeros(2), atol=1e-5, rtol=0)
    assert target[2] > 0
    assert above[1] < 0  # y points down
    assert torch.linalg.det(camera.viewmat[:3, :3]) == pytest.approx(1.0, abs=1e-5)


def test_focus_is_where_the_axes_meet():
    target = (0.2, -0.1, 0.5)
    eyes = [(4.0, 0.0, 1.0), (0.0, 4.0, 2.0), (-3.0, -2.0, 1.5), (1.0, -4.0, 0.3)]
    found = focus([camera_at(eye, target) for eye in eyes])
    torch.testing.assert_close(found, torch.tensor(target), atol=2e-2, rtol=0)


def test_orbit_keeps_its_distance_and_looks_at_the_focus():
    cameras = [camera_at(eye) for eye in [(4.0, 0.0, 0.1), (0.0, 4.0, 0.1), (-4.0, 0.1, 0.0)]]
    path = orbit(cameras, 8, math.radians(30))
    centers = torch.stack([c.center for c in path])
    assert len(path) == 8
    torch.testing.assert_close(centers.norm(dim=1), torch.full((8,), 4.0), atol=5e-2, rtol=0)
    assert torch.all(centers[:, 2] > 1.9)


def test_extent_is_1_1_of_the_widest_camera_and_never_zero():
    pair = [camera_at((2.0, 0.0, 0.0)), camera_at((-2.0, 0.0, 0.0))]
    assert extent(pair) == pytest.approx(2.2)
    assert extent(pair[:1]) > 0


def test_an_orbit_goes_around_the_up_axis_it_is_given():
    up = torch.tensor([0.0, 1.0, 0.0])
    rig = [
        Camera(look_at(torch.tensor(eye), torch.zeros(3), up), K, 64, 48)
        for eye in ((3.0, 0.0, 0.0), (0.0, 0.0, 3.0))
    ]
    path = orbit(rig, 12, 0.3, up)
    heights = torch.stack([c.center[1] for c in path])
    # The focus is damped by a thousandth.
    torch.testing.assert_close(heights, torch.full((12,), 3 * math.sin(0.3)), atol=3e-3, rtol=0)
    torch.testing.assert_close(common_up(path), up, atol=1e-5, rtol=0)


def test_a_spiral_stays_among_its_cameras_and_looks_where_they_look():
    rig = [camera_at((x, -4.0, z)) for x in (-0.5, 0.5) for z in (-0.2, 0.2)]
    path = spiral(rig, 30)
    centers = torch.stack([c.center for c in path])
    assert (centers.abs().amax(0) <= torch.tensor([0.51, 4.2, 0.21])).all()
    assert centers.std(0)[0] > 0.2
    for camera in path:
        local = camera.viewmat @ torch.tensor([0.0, 0.0, 0.0, 1.0])
        assert local[:2].abs().max() < 0.1
        assert local[2] > 0


def test_a_tour_circles_what_cameras_stand_around_and_sways_before_the_rest():
    around = [camera_at((3 * math.cos(a), 3 * math.sin(a), 0.5)) for a in (0.0, 2.1, 4.2)]
    before = [camera_at((x, -4.0, 0.0)) for x in (-0.5, 0.0, 0.5)]
    assert torch.stack([c.forward for c in tour(around, 24)]).mean(0).norm() < 0.5
    assert torch.stack([c.forward for c in tour(before, 24)]).mean(0).norm() > 0.9


def test_a_swung_camera_keeps_its_view_of_the_pivot():
    camera = Camera(
        look_at(torch.tensor([0.0, 1, 4]), torch.zeros(3), torch.tensor([0.0, 1, 0])),
        K=torch.eye(3),
        width=1,
        height=1,
    )
    pivot, up = torch.tensor([0.2, 0.1, -0.3]), torch.tensor([0.0, 1, 0])
    quarter = swung(camera, pivot, up, math.pi / 2)
    seen = [c.viewmat @ torch.cat([pivot, torch.ones(1)]) for c in (camera, quarter)]
    torch.testing.assert_close(*seen)
    x, y, z = (camera.center - pivot).tolist()
    torch.testing.assert_close(quarter.center - pivot, torch.tensor([z, y, -x]))


def test_a_swayed_camera_goes_to_both_sides_and_comes_back():
    camera, pivot, up = camera_at((0.0, -4.0, 1.0)), torch.zeros(3), torch.tensor([0.0, 0, 1])
    for part, angle in ((0.0, 0.0), (0.25, 0.3), (0.5, 0.0), (0.75, -0.3)):
        torch.testing.assert_close(
            swayed(camera, pivot, up, 0.3, part).viewmat, swung(camera, pivot, up, angle).viewmat
        )
