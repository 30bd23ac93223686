import math

import pytest
import torch

from scene.cameras import Camera, extent, focus, intrinsics, look_at, orbit, target_size

K = intrinsics(100.0, 110.0, 32.0, 24.0)


def camera_at(eye, target=(0.0, 0.0, 0.0)):
    viewmat = look_at(torch.tensor(eye), torch.tensor(target), torch.tensor([0.0, 0.0, 1.0]))
    return Camera(viewmat, K, 64, 48)


def test_opengl_pose_off_the_origin_keeps_the_sign_of_x():
    c2w = torch.eye(4)
    c2w[:3, 3] = torch.tensor([1.0, 2.0, 4.0])
    camera = Camera.from_opengl_c2w(c2w, K, 64, 48)
    torch.testing.assert_close(camera.viewmat[:3, 3], torch.tensor([-1.0, 2.0, 4.0]))
    torch.testing.assert_close(camera.center, torch.tensor([1.0, 2.0, 4.0]))


def test_opengl_camera_sees_what_lies_along_its_negative_z():
    camera = Camera.from_opengl_c2w(torch.eye(4), K, 64, 48)
    right_up_front = camera.viewmat @ torch.tensor([0.5, 0.25, -2.0, 1.0])
    torch.testing.assert_close(right_up_front, torch.tensor([0.5, -0.25, 2.0, 1.0]))


@pytest.mark.parametrize("broken", ["nan", "zero", "row"])
def test_a_pose_that_is_no_pose_is_refused(broken):
    c2w = torch.eye(4)
    if broken == "nan":
        c2w[0, 3] = math.nan
    elif broken == "zero":
        c2w[:3, 0] = 0
    else:
        c2w[3, 0] = 1
    with pytest.raises(ValueError, match=r"NaN|singular"):
        Camera.from_opengl_c2w(c2w, K, 64, 48)


def test_resizing_scales_the_image_of_a_point_with_the_grid():
    camera = camera_at((0.0, -4.0, 1.0))
    small = camera.resized(32, 12)
    point = camera.viewmat[:3, :3] @ torch.tensor([0.3, 0.2, 0.1]) + camera.viewmat[:3, 3]
    big_pixel, small_pixel = (c.K @ point / point[2] for c in (camera, small))
    torch.testing.assert_close(small_pixel[:2], big_pixel[:2] * torch.tensor([0.5, 0.25]))
    assert small.fov_x == pytest.approx(camera.fov_x)


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


@pytest.mark.parametrize(
    ("resolution", "size"),
    [(-1, (800, 600)), (1, (800, 600)), (2, (400, 300)), (8, (100, 75)), (200, (200, 150))],
)
def test_resolution_is_a_divisor_or_a_width(resolution, size):
    assert target_size(800, 600, resolution) == size
