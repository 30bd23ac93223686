from dataclasses import replace

import torch

from scene.cameras import Camera, intrinsics
from scene.frames import Frame
from scene.regions import crop, rectangle

CAMERA = Camera(torch.eye(4), intrinsics(100.0, 100.0, 50.0, 40.0), 100, 80)
BOX = torch.tensor([[-0.2, -0.1, 1.0], [0.2, 0.3, 2.0]])


def test_a_box_covers_the_rectangle_that_its_nearest_corners_span():
    # At z = 1: x from 50 - 20 to 50 + 20, y from 40 - 10 to 40 + 30.
    assert rectangle(BOX, Frame(CAMERA, 0, 0.0)) == (30, 30, 70, 70)


def test_a_box_goes_where_the_head_goes():
    turn = torch.eye(4)
    turn[:3, 3] = torch.tensor([0.1, 0.0, 0.0])
    moved = rectangle(BOX, Frame(CAMERA, 0, 0.0, head_to_world=turn))
    assert moved == (40, 30, 80, 70)


def test_what_lies_behind_the_camera_or_beside_the_picture_covers_nothing():
    frame = Frame(CAMERA, 0, 0.0)
    assert rectangle(BOX - torch.tensor([0.0, 0.0, 1.5]), frame) is None
    assert rectangle(BOX + torch.tensor([9.0, 0.0, 0.0]), frame) is None
    # its far side reaches further left
    assert rectangle(BOX + torch.tensor([0.4, 0.0, 0.0]), frame) == (60, 30, 100, 70)


def test_a_crop_is_the_rectangle():
    image = torch.arange(80.0 * 100).reshape(1, 80, 100)
    assert torch.equal(crop(image, (30, 20, 33, 22)), image[:, 20:22, 30:33])
    assert crop(image, rectangle(BOX, replace(Frame(CAMERA, 0, 0.0)))).shape == (1, 40, 40)
