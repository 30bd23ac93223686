"""Points that start on a torso, on a picture of a bar under a head."""

import numpy as np
import pytest
import torch

from scene.cameras import Camera, intrinsics
from scene.datasets._torso import CHEST, NEAR, with_torso
from scene.frames import Frame, PointCloud
from utils.images import write_image

SIZE, AWAY, METRE = 64, 4.0, 4.0
MOUTH = torch.tensor([[-0.2, -0.1, 0.2], [0.2, 0.1, 0.4]])  # its chin is at -0.18
NECK = torch.tensor([0.0, -0.3, -0.1])


@pytest.fixture
def frame(tmp_path):
    """A head above a throat and a shirt of another colour, 40 pixels wide, on nothing."""
    picture = np.zeros((SIZE, SIZE, 4), np.uint8)
    picture[10:40, 24:40] = 200, 150, 120, 255
    picture[48:, 12:52] = 20, 40, 60, 255
    write_image(tmp_path / "0.png", picture)
    viewmat = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    viewmat[2, 3] = AWAY
    camera = Camera(viewmat, intrinsics(2.0 * SIZE, 2.0 * SIZE, SIZE / 2, SIZE / 2), SIZE, SIZE)
    return Frame(camera, 0, 0.0, tmp_path / "0.png", body_to_world=torch.eye(4))


def test_they_are_seen_on_the_shirt_in_its_colour_no_deeper_than_a_chest(frame):
    none = PointCloud(torch.zeros(0, 3), torch.zeros(0, 3))
    made = with_torso(none, frame, MOUTH, NECK, METRE, 200)
    local = made.xyz @ frame.camera.viewmat[:3, :3].T + frame.camera.viewmat[:3, 3]
    pixels = local @ frame.camera.K.T
    u, v = (pixels[:, :2] / pixels[:, 2:]).T
    assert len(made.xyz) == 200
    assert ((u > 12) & (u < 52) & (v > 38)).all()
    torch.testing.assert_close(made.rgb[0] * 255, torch.tensor([20.0, 40.0, 60.0]))
    axis = AWAY - float(NECK[2])
    assert (local[:, 2] <= axis).all()
    assert (local[:, 2] >= axis - CHEST * METRE - 1e-5).all()
    middle, side = (u - 32).abs() < 5, (u - 32).abs() > 19
    assert local[middle, 2].max() < local[side, 2].min()


def test_points_that_strayed_before_the_shirt_go_and_the_others_stay(frame):
    before, beside = [0.0, -0.55, 1.0], [0.9, -0.55, 1.0]
    points = PointCloud(torch.tensor([before, beside, [0.0, 0.2, 0.0]]), torch.rand(3, 3))
    made = with_torso(points, frame, MOUTH, NECK, METRE, 5)
    torch.testing.assert_close(made.xyz[:2], points.xyz[1:])
    assert len(made.xyz) == 7
    on = made.xyz[2:] + torch.tensor([0.0, 0.0, 0.5 * NEAR * METRE])  # near enough to stay
    again = with_torso(PointCloud(on, points.rgb[:1].expand(5, 3)), frame, MOUTH, NECK, METRE, 5)
    assert len(again.xyz) > 5


def test_without_a_torso_nothing_changes(frame, tmp_path):
    picture = np.zeros((SIZE, SIZE, 4), np.uint8)
    picture[10:34, 24:40] = 255  # above the chin
    write_image(tmp_path / "0.png", picture)
    points = PointCloud(torch.rand(4, 3), torch.rand(4, 3))
    assert with_torso(points, frame, MOUTH, NECK, METRE, 5) is points
