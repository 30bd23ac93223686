"""Which pixels are head and torso: by a parsing, and by the chin where there is none."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from scene.cameras import Camera, intrinsics
from scene.frames import Frame, FrameLoader
from scene.parts import as_picture, parts_in, parts_of
from scene.regions import chin
from tests.scene.datasets.reading import read
from tests.scene.datasets.tiny_folders import TINY
from utils.images import read_image

MOUTH = torch.tensor([[-0.1, -0.2, 0.0], [0.1, 0.0, 0.0]])
UPRIGHT = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
UPRIGHT[2, 3] = 1.0  # a head that faces the camera, a unit away


def frame(alpha, **more):
    camera = Camera(UPRIGHT, intrinsics(50.0, 50.0, 32.0, 32.0), 64, 64)
    return Frame(camera, 0, 0.0, image=torch.ones(3, 64, 64), alpha=alpha, **more)


def subject():
    alpha = torch.zeros(1, 64, 64)
    alpha[:, :, 16:48] = 1
    return alpha


def test_without_a_parsing_the_torso_begins_below_the_chin():
    parts = parts_of(frame(subject()), {"mouth": MOUTH})
    row = round(32 - 50 * chin(MOUTH))
    assert np.array_equal(np.unique(parts[:row, 16:48]), [1])
    assert np.array_equal(np.unique(parts[row + 1 :, 16:48]), [2])
    assert not parts[:, :16].any()


def test_the_chin_tilts_and_moves_with_the_head():
    turn, angle = torch.eye(4), torch.tensor(0.3)
    turn[:2, :2] = torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]])
    parts = parts_of(frame(subject(), head_to_world=turn), {"mouth": MOUTH})
    border = (parts[:, 16:48] == 2).argmax(0)
    slope = np.polyfit(np.arange(32), border, 1)[0]
    assert slope == pytest.approx(-np.tan(0.3), abs=0.05)


def test_a_picture_with_its_room_or_of_no_head_has_no_parts():
    assert parts_of(frame(torch.ones(1, 64, 64)), {"mouth": MOUTH}) is None
    assert parts_of(frame(subject()), {}) is None
    assert parts_of(replace(frame(subject()), image=None), {"mouth": MOUTH}) is None


def test_a_parsing_says_which_pixels_are_what(tmp_path):
    TINY["nerfblendshape"](tmp_path)
    scene = read("nerfblendshape", tmp_path, part="all", hold_out=1)
    loaded = FrameLoader(0, torch.device("cpu")).load(scene.test[0], torch.ones(3))
    parts = parts_of(loaded, scene.regions)
    colors = read_image(loaded.parsing.path)
    assert np.array_equal(parts == 1, (colors == (0, 0, 255)).all(2))
    torso = (colors == (255, 0, 0)).all(2) | (colors == (0, 255, 0)).all(2)
    assert np.array_equal(parts == 2, torso)
    assert 0 < (parts == 1).sum() < parts.size


def test_parts_come_back_from_their_picture():
    parts = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
    assert np.array_equal(parts_in(as_picture(parts)), parts)
