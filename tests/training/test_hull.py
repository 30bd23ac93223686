"""What silhouettes say of a side that no picture shows, beside a ball that is known and the same
hull drawn ray by ray."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from gaussian_renderer import render
from scene.cameras import Camera, intrinsics
from scene.frames import Frame
from scene.paths import look_at
from scene.visual_hull import carve
from scripts.bench.visual_hull import draw
from training.hull import INSIDE, HullViews, beads, narrowed, widened
from training.samplers import Imagined
from utils.devices import CPU
from utils.random import generator

SIZE, RADIUS = 48, 0.3
SIDES = ((0, 0), (30, 30), (90, -20), (150, 30), (210, -20), (270, 30), (330, -20))


def camera(azimuth, elevation):
    a, e = math.radians(azimuth), math.radians(elevation)
    eye = [math.cos(e) * math.sin(a), math.sin(e), math.cos(e) * math.cos(a)]
    viewmat = look_at(2 * torch.tensor(eye), torch.zeros(3), torch.tensor([0.0, 1.0, 0.0]))
    K = intrinsics(60.0, 60.0, SIZE / 2, SIZE / 2)
    return Camera.from_opencv_w2c(viewmat, K, SIZE, SIZE)


def ball(camera):
    """A loaded frame of a ball whose colour says where on it one looks, on white."""
    v, u = torch.meshgrid(torch.arange(SIZE) + 0.5, torch.arange(SIZE) + 0.5, indexing="ij")
    pixels = torch.stack([u, v, torch.ones_like(u)], -1)
    rays = normalize(pixels @ torch.linalg.inv(camera.K).T @ camera.viewmat[:3, :3], dim=-1)
    near = -(rays @ camera.center)
    gap = near**2 - camera.center.square().sum() + RADIUS**2
    points = camera.center + rays * (near - gap.clamp(min=0).sqrt())[..., None]
    alpha = (gap > 0).float()[None]
    image = torch.lerp(torch.ones(3, 1, 1), 0.5 + points.permute(2, 0, 1) / (2 * RADIUS), alpha)
    return Frame(camera, 0, 0.0, image=image, alpha=alpha)


@pytest.fixture(scope="module")
def views():
    return [ball(camera(*side)) for side in SIDES]


@pytest.fixture(scope="module")
def told(views):
    """The comparison, with the ball's moment known."""
    hull = HullViews(CPU)
    hull.known[0] = hull._coloured(views)
    return hull


@pytest.fixture
def side():
    return Imagined(camera(60, 45), 0, 0.0, background=torch.zeros(3))


def test_the_shell_lies_on_what_all_silhouettes_show(told):
    shell = told.known[0]
    reach = shell.means.norm(dim=1)
    assert float(reach.min()) > RADIUS - 2.5 * shell.voxel
    assert float(reach.median()) == pytest.approx(RADIUS, abs=2 * shell.voxel)


def test_it_is_drawn_as_ray_by_ray(told, views, side):
    image, alpha = told.draw(told.known[0], side)
    twin, mask = draw(carve(views, 80), side.camera, views)
    inside, found = mask > 0.5, alpha > INSIDE
    assert float((inside & found).sum() / (inside | found).sum()) > 0.9
    deep = narrowed(mask, 0.1) > 0.5
    for other in (twin, ball(side.camera).image):
        assert float((image / alpha - other).abs().mean(0)[deep[0]].mean()) < 0.015


def test_points_that_a_picture_does_not_see_have_another_one_s_colour(told):
    """The ball's colour at each point, from beside a picture that shows its other side."""
    shell = told.known[0]
    seen = shell.seen_from(camera(180, 20).center)
    behind = normalize(shell.means, dim=1)[:, 2] < -0.5
    true = 0.5 + shell.means / (2 * RADIUS)
    assert float((seen.colors - true)[behind].abs().mean()) < 0.06


def drawn(side, means, colors):
    means = means.clone().requires_grad_()
    gaussians = replace(beads(means, colors, 0.02), opacities=torch.full((len(means), 1), 0.4))
    gaussians.opacities.requires_grad_()
    return render(side.camera, gaussians, side.background), gaussians


def test_it_makes_solid_and_keeps_empty_and_is_silent_at_the_outline(told, side):
    shell = told.known[0]
    right = camera(60, 45).viewmat[0, :3]
    pulls = []
    for place in (0.0, 0.55, 1.05 * RADIUS):
        spot = 0.005 * torch.randn(40, 3, generator=generator(0)) + place * right
        view, gaussians = drawn(side, spot, 0.5 + shell.means[:40] * 0)
        told(view, side).backward()
        pulls.append(float(gaussians.opacities.grad.sum()))
    deep, outside, outline = pulls
    assert deep < 0 < outside
    assert abs(outline) < 0.1 * min(-deep, outside)


def test_the_hull_s_own_colours_cost_little_and_others_more(told, side):
    shell = told.known[0]
    own = shell.seen_from(side.camera.center)
    costs = [
        float(told(render(side.camera, g, side.background, antialiased=True), side).detach())
        for g in (own, replace(own, colors=1 - own.colors))
    ]
    assert costs[0] < 0.02 * costs[1]


def test_silhouettes_that_deny_each_other_say_nothing(views, side):
    hull = HullViews(CPU)
    hull.known[0] = hull._coloured([*views, replace(views[0], alpha=0 * views[0].alpha)])
    view, _ = drawn(side, torch.zeros(4, 3), torch.ones(4, 3))
    assert float(hull(view, side)) == 0


def test_coverage_is_widened_and_narrowed_by_a_share_of_the_side():
    alpha = torch.zeros(1, 20, 20)
    alpha[:, 5:15, 5:15] = 1.0
    assert int(widened(alpha, 0.1).sum()) == 14**2
    assert int(narrowed(alpha, 0.1).sum()) == 6**2
