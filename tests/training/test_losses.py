from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gaussian_renderer import Render
from scene.cameras import Camera, intrinsics
from scene.frames import Frame
from training.losses import in_regions

BOX = torch.tensor([[-0.2, -0.1, 1.0], [0.2, 0.1, 1.0]])  # columns 30 to 70, rows 30 to 50
FRAME = Frame(
    Camera(torch.eye(4), intrinsics(100.0, 100.0, 50.0, 40.0), 100, 80),
    0,
    0.0,
    Path("a.png"),
    image=torch.zeros(3, 80, 100),
)


def drawn(image):
    return Render(image, None, None, None, None, None)


def test_only_what_a_region_shows_counts():
    (loss,) = in_regions(2.0, {"mouth": BOX})
    image = torch.full((3, 80, 100), 9.0)
    image[:, 30:50, 30:70] = 0.5
    assert float(loss([drawn(image)], [FRAME], 1)) == pytest.approx(2.0 * 0.5)


def test_a_picture_that_shows_no_region_adds_nothing():
    away = replace(FRAME, head_to_world=torch.diag(torch.tensor([1.0, 1.0, -1.0, 1.0])))
    (loss,) = in_regions(2.0, {"mouth": BOX})
    image = torch.ones(3, 80, 100, requires_grad=True)
    value = loss([drawn(image)], [away], 1)
    value.backward()
    assert float(value) == 0
    assert not image.grad.any()


def test_without_weight_or_regions_there_is_no_term():
    assert in_regions(0.0, {"mouth": BOX}) == []
    assert in_regions(1.0, {}) == []
