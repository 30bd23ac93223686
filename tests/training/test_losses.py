from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gaussian_renderer import Render
from scene.cameras import Camera, intrinsics
from scene.frames import Frame
from training.losses import confidently, in_regions, over_views, photometric, squares

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


def pair(odd=0.0):
    """A subject in the middle whose colours are a little off everywhere, and by `odd` in a
    corner."""
    truth = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(0))
    alpha = torch.zeros(1, 40, 40)
    alpha[:, 8:32, 8:32] = 1
    image = truth + 0.02 * alpha
    image[:, 8:14, 8:14] += odd
    drawn = Render(image.requires_grad_(True), alpha, *[None] * 6)
    return drawn, replace(FRAME, image=truth, alpha=alpha)


def test_squares_are_means_over_the_picture():
    render, frame = pair()
    expected = 3.0 * 0.02**2 * (24 / 40) ** 2
    assert float(squares(3.0, 7.0)(render, frame)) == pytest.approx(expected, rel=1e-3)
    hollow = replace(render, alpha=torch.zeros_like(render.alpha))
    more = float(squares(3.0, 7.0)(hollow, frame)) - expected
    assert more == pytest.approx(7.0 * (24 / 40) ** 2, rel=1e-3)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_what_differs_far_more_than_usual_is_hardly_believed(scale):
    """Its pull is a small part of what squares give it; the rest is believed as before."""
    render, frame = pair(odd=0.6)
    pulls = []
    for fn in (squares(scale, 0.0), confidently(scale, 0.0, half=10.0)):
        (pull,) = torch.autograd.grad(fn(render, frame), render.image, retain_graph=True)
        pulls.append(pull.abs())
    belief = (pulls[1] / pulls[0])[0]
    assert float(belief[9:13, 9:13].max()) < 0.05
    assert float(belief[20:30, 20:30].min()) > 0.85
    assert float(belief[20:30, 20:30].max()) <= 1.0


def test_a_view_of_nothing_is_believed_without_a_nan():
    render, frame = pair()
    empty = torch.zeros(1, 40, 40)
    bare = replace(frame, alpha=empty), replace(render, alpha=empty)
    assert confidently(1.0, 1.0, 10.0)(bare[1], bare[0]).isfinite()
