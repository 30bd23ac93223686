from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gaussian_renderer import Render
from scene.cameras import Camera, intrinsics
from scene.frames import Frame
from training.losses import in_regions, over_views, photometric

BOX = torch.tensor([[-0.2, -0.1, 1.0], [0.2, 0.1, 1.0]])  # columns 30 to 70, rows 30 to 50
FRAME = Frame(
    Camera(torch.eye(4), intrinsics(100.0, 100.0, 50.0, 40.0), 100, 80),
    0,
    0.0,
    Path("a.png"),
    image=torch.zeros(3, 80, 100),
)


def drawn(image):
    return Render(image, *[None] * 7)


def test_only_what_a_region_shows_counts():
    (loss,) = in_regions(2.0, {"mouth": BOX})
    image = torch.full((3, 80, 100), 9.0)
    image[:, 30:50, 30:70] = 0.5
    assert float(loss([drawn(image)], [FRAME], 1)) == pytest.approx(2.0 * 0.5)


def test_a_picture_in_another_size_shows_its_region_elsewhere():
    (loss,) = in_regions(1.0, {"mouth": BOX})
    small = replace(FRAME, camera=FRAME.camera.resized(50, 40), image=torch.zeros(3, 40, 50))
    for frame, (rows, columns) in ((FRAME, (30, 30)), (small, (15, 15)), (FRAME, (30, 30))):
        image = torch.full_like(frame.image, 9.0)
        image[:, rows : rows + image.shape[1] // 4, columns : columns + image.shape[2] * 2 // 5] = (
            0.5
        )
        assert loss([drawn(image)], [frame], 1).item() == pytest.approx(0.5)


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


def view(value, role="reference", picture=True):
    """A render of one grey and its frame, whose picture, if any, is black."""
    frame = replace(FRAME, role=role, image=FRAME.image if picture else None)
    return drawn(torch.full((3, 80, 100), value)), frame


def brightness(render, frame):
    return render.image.mean()


def test_a_comparison_is_the_mean_over_the_views_with_a_picture():
    renders, frames = zip(view(0.2), view(0.9, picture=False), view(0.4), strict=True)
    assert over_views(brightness)(renders, frames, 1).item() == pytest.approx(0.3)
    (term,) = photometric(l1=2.0)
    assert term(renders, frames, 1).item() == pytest.approx(2 * 0.3)


def test_a_comparison_may_be_of_other_views():
    def anchors(frame):
        return frame.role == "anchor"

    renders, frames = zip(view(0.2), view(0.9, "anchor"), view(0.5, "anchor", False), strict=True)
    assert over_views(brightness, of=anchors)(renders, frames, 1).item() == pytest.approx(0.7)


def test_a_step_whose_views_have_no_picture_adds_nothing_and_reaches_no_view():
    renders, frames = zip(view(0.2, picture=False), view(0.9, picture=False), strict=True)
    images = [render.image.requires_grad_() for render in renders]
    for term in (*photometric(l1=1.0, l2=1.0, dssim=1.0), *in_regions(1.0, {"mouth": BOX})):
        assert term(renders, frames, 1).item() == 0
    (other,) = photometric(l1=1.0)
    (other(renders, frames, 1) + images[0].sum()).backward()
    assert images[1].grad is None
