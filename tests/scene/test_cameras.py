import math

import pytest
import torch

from scene.cameras import Camera, intrinsics, target_size
from scene.paths import look_at

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


@pytest.mark.parametrize(
    ("resolution", "size"),
    [(-1, (800, 600)), (1, (800, 600)), (2, (400, 300)), (8, (100, 75)), (200, (200, 150))],
)
def test_resolution_is_a_divisor_or_a_width(resolution, size):
    assert target_size(800, 600, resolution) == size


EYE, TARGET = torch.tensor([3.0, -2.0, 1.0]), torch.tensor([0.2, 0.1, -0.3])


@pytest.fixture
def axes():
    """Where a camera at EYE that looks at TARGET has its right, up and back, worked out by hand."""
    back = (EYE - TARGET) / (EYE - TARGET).norm()
    right = torch.linalg.cross(torch.tensor([0.0, 0.0, 1.0]), back)
    right = right / right.norm()
    return right, torch.linalg.cross(back, right), back


def forms(axes):
    """The same camera in every convention a file may use."""
    right, up, back = axes
    gl, cv = torch.eye(4), torch.eye(4)
    gl[:3] = torch.stack([right, up, back, EYE], dim=1)
    cv[:3] = torch.stack([right, -up, -back, EYE], dim=1)
    P = K.double() @ torch.linalg.inv(cv.double())[:3]
    return {
        "opengl c2w": Camera.from_opengl_c2w(gl, K, 64, 48),
        "opengl w2c": Camera.from_opengl_w2c(torch.linalg.inv(gl), K, 64, 48),
        "opencv c2w": Camera.from_opencv_c2w(cv, K, 64, 48),
        "opencv w2c": Camera.from_opencv_w2c(torch.linalg.inv(cv), K, 64, 48),
        "llff": Camera.from_llff(torch.stack([-up, right, back, EYE], dim=1), K, 64, 48),
        "projection": Camera.from_projection(P, 64, 48),
        "projection of another factor": Camera.from_projection(0.01 * P, 64, 48),
        "projection of another sign": Camera.from_projection(-3 * P, 64, 48),
    }


def test_one_camera_in_every_convention_is_one_camera(axes):
    expected = look_at(EYE, TARGET, torch.tensor([0.0, 0.0, 1.0]))
    for name, camera in forms(axes).items():
        torch.testing.assert_close(camera.viewmat, expected, atol=1e-5, rtol=0, msg=name)
        torch.testing.assert_close(camera.K, K, atol=1e-3, rtol=0, msg=name)


def test_a_scale_in_a_pose_changes_no_pixel():
    c2w = torch.eye(4)
    c2w[:3, 3] = EYE
    scaled = c2w @ torch.diag(torch.tensor([5.0, 5.0, 5.0, 1.0]))
    a, b = (Camera.from_opencv_c2w(m, K, 64, 48) for m in (c2w, scaled))
    torch.testing.assert_close(a.viewmat, b.viewmat)


BROKEN_POSES = {
    "mirrors": torch.diag(torch.tensor([-1.0, 1, 1, 1])),
    "right angles": torch.diag(torch.tensor([1.0, 2, 1, 1])),
    "beyond": torch.eye(4) + torch.tensor([0.0, 0, 0, 1e9]) * torch.tensor([[1.0], [0], [0], [0]]),
}


@pytest.mark.parametrize("words", BROKEN_POSES)
def test_what_turns_no_world_into_a_camera_is_refused(words):
    with pytest.raises(ValueError, match=words):
        Camera.from_opencv_w2c(BROKEN_POSES[words], K, 64, 48)


@pytest.mark.parametrize(
    ("fx", "cx", "words"),
    [
        (0.0, 32.0, "focal"),
        (-100.0, 32.0, "focal"),
        (math.nan, 32.0, "focal"),
        (1e9, 32.0, "focal"),
        (100.0, 1e5, "principal"),
    ],
)
def test_a_lens_that_is_none_is_refused(fx, cx, words):
    with pytest.raises(ValueError, match=words):
        Camera.from_opencv_w2c(torch.eye(4), intrinsics(fx, 100.0, cx, 24.0), 64, 48)


def test_a_skewed_projection_is_refused():
    skewed = K.clone()
    skewed[0, 1] = 5.0
    with pytest.raises(ValueError, match="skewed"):
        Camera.from_projection(skewed @ torch.eye(4)[:3], 64, 48)


def test_a_negative_focal_length_turns_the_x_axis_and_nothing_else():
    c2w = torch.eye(4, dtype=torch.float64)
    c2w[:3, 3] = torch.tensor([0.3, -0.2, 2.0])
    mirrored = c2w @ torch.diag(torch.tensor([-1.0, 1, 1, 1], dtype=torch.float64))
    K = intrinsics(50, 60, 32, 24)
    signed = intrinsics(-50, 60, 32, 24)
    plain = Camera.from_opengl_c2w(c2w, K, 64, 48)
    turned = Camera.from_opengl_c2w(mirrored, signed, 64, 48)
    torch.testing.assert_close(turned.viewmat, plain.viewmat)
    torch.testing.assert_close(turned.K, plain.K)
    assert signed[0, 0] == -50  # what the caller holds stays
    with pytest.raises(ValueError, match="mirrors"):
        Camera.from_opengl_c2w(c2w, signed, 64, 48)


def test_centre_and_direction_are_those_of_the_inverse_matrix(axes):
    camera = forms(axes)["opencv c2w"]
    c2w = torch.linalg.inv(camera.viewmat.double()).float()
    torch.testing.assert_close(camera.center, c2w[:3, 3], atol=1e-6, rtol=0)
    torch.testing.assert_close(camera.forward, c2w[:3, 2], atol=1e-6, rtol=0)


def test_points_are_seen_where_the_projection_says(axes):
    """Float32 and float64 points; one that lies behind the camera is divided by `nearest`."""
    right, up, back = axes
    camera = forms(axes)["opencv c2w"]
    points = torch.stack([TARGET, EYE - 2 * back + 0.3 * right - 0.2 * up, EYE + back])
    homogeneous = torch.cat([points, torch.ones(3, 1)], dim=1).double()
    local = (camera.viewmat.double() @ homogeneous.T)[:3]
    image = camera.K.double() @ local
    for given in (points, points.double()):
        pixels, depths = camera.project(given, 0.5)
        assert pixels.dtype == given.dtype
        expected = (image[:2, :2] / image[2, :2]).T.to(given)
        torch.testing.assert_close(pixels[:2], expected, atol=1e-3, rtol=0)
        torch.testing.assert_close(pixels[2], (image[:2, 2] / 0.5).to(given), atol=1e-3, rtol=0)
        torch.testing.assert_close(depths, local[2].to(given), atol=1e-5, rtol=0)
        torch.testing.assert_close(camera.depths(given), depths, atol=1e-6, rtol=0)
        torch.testing.assert_close(camera.local(given)[:, 2], depths)
    torch.testing.assert_close(
        pixels[1],
        torch.tensor([32 + 0.15 * K[0, 0], 24 + 0.1 * K[1, 1]]).to(pixels),
        atol=1e-3,
        rtol=0,
    )
