"""What places a cloud: silhouettes, flow, rigidity. Each beside a slow twin or the truth."""

from dataclasses import replace

import pytest
import torch

from gaussian_renderer import render
from scene.cameras import Camera, intrinsics
from scene.deformation.volumes import neighbourhoods
from scene.frames import Frame, Mask
from scene.gaussian_model import Gaussians
from training.point_losses import (
    SLOW,
    Silhouette,
    acceleration,
    blur,
    chamfer,
    flow_consistency,
    in_front,
    resized,
    rigidity,
    spacing,
    unrest,
)
from utils.random import generator

SIZE = 40
CAMERA = Camera.from_opencv_w2c(
    torch.eye(4, dtype=torch.float64), intrinsics(50, 50, SIZE / 2, SIZE / 2), SIZE, SIZE
)


def noise(*shape, key="losses"):
    return torch.randn(*shape, generator=generator(0, key))


def frame(**values):
    image, alpha = torch.ones(3, SIZE, SIZE), torch.zeros(1, SIZE, SIZE)
    image[:, 10:20, 15:30], alpha[:, 10:20, 15:30] = 0.2, 1.0
    return Frame(CAMERA, 0, 0.0, image=image, alpha=alpha, background=torch.ones(3), **values)


def test_a_silhouette_is_what_is_covered_and_differs_from_the_background():
    whole = Silhouette.of(frame())
    assert len(whole.pixels) == 10 * 15
    floor = replace(frame(), alpha=torch.ones(1, SIZE, SIZE))  # white, and opaque
    assert torch.equal(Silhouette.of(floor).pixels, whole.pixels)
    masked = replace(floor, mask=Mask("unused.png"))
    assert len(Silhouette.of(masked).pixels) == SIZE * SIZE
    assert Silhouette.of(replace(frame(), alpha=torch.zeros(1, SIZE, SIZE))) is None


def test_the_nearest_pixels_of_a_silhouette_are_those_of_a_search():
    found = Silhouette.of(frame())
    grid = torch.stack(torch.meshgrid(*[torch.arange(SIZE) + 0.5] * 2, indexing="xy"), 2)
    away = (grid - found.nearest - 0.5).norm(dim=2).flatten()
    slow = torch.cdist(grid.reshape(-1, 2), found.pixels).amin(1)
    assert torch.allclose(away, slow)


def test_the_chamfer_distance_is_that_of_all_pairs():
    silhouette = Silhouette.of(frame())
    places = (grid := torch.randint(0, SIZE, (60, 2), generator=generator(0, "places"))) + 0.5
    pairs = torch.cdist(places, silhouette.pixels).square()
    slow = pairs.amin(1).mean() + pairs.amin(0).mean()
    assert len(grid) == 60
    found = chamfer(places, silhouette, generator(0), count=0)
    assert float(found) == pytest.approx(float(slow), rel=1e-5)


def test_a_sample_of_pixels_has_the_same_expectation():
    silhouette, places = Silhouette.of(frame()), SIZE * noise(30, 2).sigmoid()
    whole = float(chamfer(places, silhouette, generator(0), count=0))
    some = [float(chamfer(places, silhouette, generator(0, k), count=60)) for k in range(300)]
    assert sum(some) / 300 == pytest.approx(whole, rel=0.02)


def test_points_in_one_place_behind_the_camera_are_pulled_and_not_lost():
    points = torch.zeros(20, 3).requires_grad_()  # where all coefficients are zero
    places, depths = CAMERA.project(points, 0.1)
    loss = chamfer(places, Silhouette.of(frame()), generator(0), 0) + in_front(depths - 1)
    loss.backward()
    assert torch.isfinite(points.grad).all()
    assert (points.grad[:, 2] < 0).all()  # descent leads to the front of the camera


def test_a_rigid_motion_costs_nothing_and_a_stretch_what_it_is():
    rest = noise(50, 3)
    near = neighbourhoods(rest[None], 6)
    angle = torch.tensor(0.8)
    R = torch.eye(3)
    R[:2, :2] = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
    moved = torch.stack([rest @ R.T + 1, rest])
    assert float(rigidity(rest, moved, near, 1.0)) < 1e-9
    unit = 0.5
    found = rigidity(rest, 2 * rest[None], near, unit)
    squares = (rest[near] - rest[:, None]).square().sum(2) / unit**2
    assert float(found) == pytest.approx(float((3 * squares).square().sum(1).mean()), rel=1e-4)


def test_the_unit_is_the_median_way_to_a_neighbour():
    line = torch.stack([torch.arange(10.0), torch.zeros(10), torch.zeros(10)], 1)
    assert float(spacing(line, neighbourhoods(line[None], 3))) == 1.0


def cloud():
    return torch.stack([*(0.3 * noise(2, 300, key="xy")), 3 + 0.1 * noise(300, key="z")], 1)


def with_flow(x, y, trust=1.0):
    flow = torch.tensor([x, y, trust])[:, None, None].expand(3, SIZE, SIZE)
    return replace(frame(flow=flow.half()), alpha=torch.ones(1, SIZE, SIZE), mask=Mask("m.png"))


def test_motion_that_is_the_flow_costs_nothing():
    points = cloud()
    now = CAMERA.project(points, 0.1)[0]
    moved = with_flow(2.0, -1.0)
    right = flow_consistency(moved, points, now, now + torch.tensor([2.0, -1.0]))
    wrong = flow_consistency(moved, points, now, now)
    assert float(right) < 1e-3 * float(wrong)
    assert float(flow_consistency(with_flow(2.0, -1.0, 0.0), points, now, now)) == 0


def test_flow_pulls_points_along():
    points = cloud()
    now = CAMERA.project(points, 0.1)[0]
    then = now.clone().requires_grad_()
    flow_consistency(with_flow(3.0, 0.0), points, now, then).backward()
    seen = then.grad.norm(dim=1) > 0
    assert int(seen.sum()) > 100
    assert (then.grad[seen, 0] < 0).all()  # descent moves them to the right


def test_a_flow_of_another_size_counts_in_the_pixels_of_the_picture():
    flow = torch.tensor([4.0, 2.0, 1.0])[:, None, None].expand(3, 2 * SIZE, 2 * SIZE)
    small = resized(flow, CAMERA)
    assert small.shape == (3, SIZE, SIZE)
    assert torch.allclose(small[:, 5, 5], torch.tensor([2.0, 1.0, 1.0]))


def test_an_even_way_has_no_acceleration_and_a_curve_has_its_own():
    start, speed, curve = noise(3, 9, 3, key="ways")
    times = torch.tensor([0.2, 0.25, 0.3])[:, None, None]
    even = start + speed * times
    assert float(acceleration(even, 0.05)) < 1e-6
    bent = acceleration(even + curve * times**2 / 2, 0.05)
    assert float(bent) == pytest.approx(float(curve.square().sum(1).mean()), rel=1e-2)
    wanted = torch.log1p(speed.norm(dim=1) / SLOW).mean()
    assert float(unrest(even, 0.05)) == pytest.approx(float(wanted), rel=1e-4)


def dot(x):
    return Gaussians(
        means=torch.tensor([[x, 0.0, 3.0]]),
        quats=torch.tensor([[1.0, 0, 0, 0]]),
        scales=torch.full((1, 3), 0.15),
        opacities=torch.full((1, 1), 0.99),
        colors=torch.full((1, 3), 0.2),
    )


@pytest.mark.parametrize("size", [SIZE, 4 * SIZE])  # larger pictures are made smaller
def test_the_blurred_picture_pulls_a_point_to_its_place(size):
    camera = CAMERA.resized(size, size)
    background = torch.ones(3, size, size)  # a plate goes with its picture
    seen = render(camera, dot(0.3), background).image
    shown = replace(frame(), camera=camera, image=seen, background=background)
    assert float(blur(shown, dot(0.3))) < 1e-4
    beside = dot(-0.3)
    beside.means.requires_grad_()
    blur(shown, beside).backward()
    assert float(beside.means.grad[0, 0]) < 0  # descent moves it to the right
