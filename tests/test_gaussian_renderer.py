from dataclasses import replace

import pytest
import torch
from diff_gaussian_rasterization.budget import VARIABLE

from gaussian_renderer import Painter, render, weights
from gaussian_renderer.show import Show
from scene.cameras import Camera, intrinsics
from scene.frames import Frame, FrameLoader
from scene.gaussian_model import Gaussians
from utils.errors import InputError

CAMERA = Camera(torch.eye(4), intrinsics(40.0, 40.0, 16.0, 12.0), 32, 24)


def one_gaussian(mean=(0.0, 0.0, 4.0), opacity=0.99, scale=0.5):
    return Gaussians(
        means=torch.tensor([mean], requires_grad=True),
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        scales=torch.full((1, 3), scale),
        opacities=torch.tensor([[opacity]]),
        colors=torch.tensor([[0.2, 0.4, 0.8]]),
    )


def test_depth_is_the_distance_along_the_axis_where_something_is_drawn():
    view = render(CAMERA, one_gaussian(), torch.zeros(3))
    assert abs(view.depth[0, 12, 16].item() - 4.0) < 1e-4
    assert view.depth[0, 0, 0] == 0


def test_the_background_shows_by_what_is_not_covered():
    view = render(CAMERA, one_gaussian(), torch.ones(3))
    expected = view.alpha * torch.tensor([0.2, 0.4, 0.8])[:, None, None] + (1 - view.alpha)
    torch.testing.assert_close(view.image, expected)


def test_drawing_gives_the_strategies_a_gradient_on_screen_and_changes_no_input():
    gaussians = one_gaussian(mean=(0.4, 0.0, 4.0))
    before = gaussians.means.detach().clone()
    view = render(CAMERA, gaussians, torch.zeros(3))
    view.image[:, :, 16:].sum().backward()
    assert view.means2d.grad.shape == (1, 3)
    assert view.means2d.grad[0, :2].any()
    assert torch.equal(gaussians.means.detach(), before)
    assert view.radii.tolist() != [0]


@pytest.mark.parametrize("antialiased", [False, True])
def test_the_weight_of_a_row_is_the_sum_of_its_picture(antialiased):
    torch.manual_seed(0)
    gaussians = Gaussians(
        means=torch.randn(6, 3) * 0.5 + torch.tensor([0.0, 0.0, 3.0]),
        quats=torch.randn(6, 4),
        scales=torch.rand(6, 3) * 0.3,
        opacities=torch.rand(6, 1).requires_grad_(),
        sh=torch.randn(6, 4, 3),
        sh_degree=1,
    )
    gaussians.means[5, 2] = -1  # behind the camera
    alone = replace(gaussians, sh=None, colors=torch.eye(6), sh_degree=0)  # a channel for each
    picture = render(CAMERA, alone, torch.zeros(6), antialiased=antialiased).image
    with torch.no_grad():
        found = weights(CAMERA, gaussians, antialiased=antialiased)
    torch.testing.assert_close(found, picture.detach().sum((1, 2)))
    assert found[5] == 0 < found[:5].min()
    assert gaussians.opacities.grad is None


def test_nothing_behind_the_camera_is_drawn():
    view = render(CAMERA, one_gaussian(mean=(0.0, 0.0, -4.0)), torch.full((3,), 0.5))
    assert view.radii.tolist() == [0]
    assert torch.all(view.image == 0.5)


@pytest.mark.parametrize(
    "background", [torch.ones(3), torch.rand(3, 24, 32)], ids=["colour", "picture"]
)
def test_a_painter_draws_the_same_bits_without_gradients(background):
    paint = Painter()
    for mean in ((0.4, 0.0, 4.0), (0.0, 0.2, 3.0)):
        expected = render(CAMERA, one_gaussian(mean), background)
        view = paint(CAMERA, one_gaussian(mean), background)
        for name in ("image", "alpha", "depth", "radii"):
            assert torch.equal(getattr(view, name), getattr(expected, name)), name
        assert not view.image.requires_grad
        assert view.means2d is None


def test_a_painter_draws_cameras_of_other_sizes_and_gaussians_of_other_channels():
    paint = Painter()
    assert paint(CAMERA, one_gaussian(), torch.zeros(3)).image.shape == (3, 24, 32)
    assert paint(CAMERA.resized(16, 12), one_gaussian(), torch.zeros(3)).image.shape == (3, 12, 16)
    grey = replace(one_gaussian(), colors=torch.ones(1, 1))
    assert paint(CAMERA, grey, torch.zeros(1)).image.shape == (1, 24, 32)


class Still:
    """A model that poses one Gaussian where the frame's time says."""

    background = torch.tensor([0.1, 0.2, 0.3])
    antialiased = False

    def prepare(self, frame):
        return replace(frame, time=frame.time + 0.5)

    def __call__(self, frame):
        return one_gaussian(mean=(frame.time, 0.0, 4.0))


def test_a_shown_frame_is_prepared_posed_and_drawn_to_the_bits_of_training():
    model = Still()
    show = Show(model, FrameLoader(0, torch.device("cpu")))
    frame = Frame(CAMERA, 0, 0.25)
    view = show(show.load(frame))
    assert torch.equal(
        view.image, render(CAMERA, one_gaussian((0.75, 0.0, 4.0)), model.background).image
    )
    elsewhere = Show(model, show.loader, pose=lambda frame: one_gaussian((-0.5, 0.0, 4.0)))
    view = elsewhere(elsewhere.load(replace(frame, background=torch.ones(3))))
    assert torch.equal(
        view.image, render(CAMERA, one_gaussian((-0.5, 0.0, 4.0)), torch.ones(3)).image
    )


def test_what_is_smaller_than_a_pixel_is_faint_where_the_drawing_is_antialiased():
    tiny = one_gaussian(mean=(0.05, 0.05, 4.0), scale=0.01)  # a tenth of a pixel
    dot, faint = (render(CAMERA, tiny, torch.ones(3), antialiased=a) for a in (False, True))
    assert dot.alpha.max() > 0.9
    assert faint.alpha.max().item() == pytest.approx(0.99 * 0.01 / 0.31, rel=1e-3)
    view = Painter()(CAMERA, tiny, torch.ones(3), antialiased=True)
    for name in ("image", "alpha", "depth", "radii"):
        assert torch.equal(getattr(view, name), getattr(faint, name)), name


def test_a_model_is_shown_as_it_was_trained():
    model = Still()
    model.antialiased = True
    show = Show(model, FrameLoader(0, torch.device("cpu")), lambda frame: one_gaussian(scale=0.01))
    view = show(show.load(Frame(CAMERA, 0, 0.0)))
    expected = render(CAMERA, one_gaussian(scale=0.01), model.background, antialiased=True)
    assert torch.equal(view.image, expected.image)
    assert view.alpha.max() < 0.1


def test_the_first_view_shown_does_not_count_for_the_speed():
    show = Show(Still(), FrameLoader(0, torch.device("cpu")))
    show.seconds = [(9.0, 9.0), (0.1, 0.1), (0.2, 0.1)]
    found = show.frames_per_second()
    assert found["posed_and_drawn_fps"] == pytest.approx(4.0)
    assert found["drawn_fps"] == pytest.approx(10.0)
    show.seconds = [(0.25, 0.25)]  # a single view is better than nothing
    assert show.frames_per_second() == {"posed_and_drawn_fps": 2.0, "drawn_fps": 4.0}


def test_a_model_is_not_shown_where_the_pair_budget_is_no_number(monkeypatch):
    monkeypatch.setenv(VARIABLE, "many")
    with pytest.raises(InputError, match=f"^{VARIABLE} is 'many', expected bytes, or 0 for no"):
        Show(Still(), FrameLoader(0, torch.device("cpu")))
