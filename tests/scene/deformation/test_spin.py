"""Spins found in pictures of balls that are drawn by casting rays, without a Gaussian."""

import math

import pytest
import torch

from scene.cameras import Camera
from scene.deformation import spin
from utils.rotations import axis_angle_to_matrices

SIDE, RADIUS, N_LOOKS, MOST = 64, 0.4, 60, 8 * math.pi
K = torch.tensor([[96.0, 0, SIDE / 2], [0, 96.0, SIDE / 2], [0, 0, 1]])


def camera(k):
    """One of seven around, three units from the origin, some from above."""
    angle = torch.tensor(2 * math.pi * (3 * k % 7) / 7)
    height = 0.25 * (k % 3)
    forward = -torch.stack([angle.cos(), angle.sin(), torch.tensor(height)])
    forward = forward / forward.norm()
    right = torch.linalg.cross(forward, torch.tensor([0.0, 0.0, 1.0]))
    right = right / right.norm()
    c2w = torch.eye(4, dtype=torch.float64)
    c2w[:3, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward], dim=1)
    c2w[:3, 3] = -3 * forward
    return Camera.from_opencv_c2w(c2w, K, SIDE, SIDE)


def centre(time):
    return torch.tensor([0.3 * math.cos(5 * time), 0.3 * math.sin(5 * time), 0.1])


def picture(k, time, turn, pattern):
    """(3, SIDE, SIDE) of the ball on white, its surface lit from above."""
    view = camera(k)
    y, x = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    rays = torch.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], torch.ones_like(x)], -1)
    rays = torch.nn.functional.normalize(rays @ view.viewmat[:3, :3], dim=-1)
    away = view.center - centre(time)
    half = (rays * away).sum(-1)
    root = half.square() - away.square().sum() + RADIUS**2
    normals = (away + (-half - root.clamp(min=0).sqrt())[..., None] * rays) / RADIUS
    body = normals @ axis_angle_to_matrices(turn * (time - 0.5))  # the transpose turns back
    light = 0.6 + 0.4 * normals[..., 2]
    return torch.where(root > 0, light * pattern(body), torch.tensor(1.0)).expand(3, -1, -1)


def patches(body):
    """Light and dark ones some twenty degrees wide."""
    return 0.5 + 0.4 * torch.sign(torch.sin(8 * body + 1).prod(-1))


def plain(body):
    return torch.full(body.shape[:-1], 0.6)


def looks(turn, pattern):
    times = torch.linspace(0, 1, N_LOOKS)
    seen = [
        spin.look(picture(k, time, turn, pattern), camera(k), centre(time), RADIUS)
        for k, time in enumerate(times.tolist())
    ]
    return times, *map(torch.stack, zip(*seen, strict=True))


@pytest.mark.parametrize("turn", [[0.0, 18.85, 0.0], [-6.0, 5.0, 11.0]])
def test_the_spin_of_a_ball_with_patches_is_found(turn):
    turn = torch.tensor(turn)
    found, lead = spin.spin_of(*looks(turn, patches), MOST)
    assert float((found - turn).norm()) < 0.5  # radians over the whole clip
    assert lead > 5


@pytest.mark.parametrize(
    ("turn", "pattern"), [([0.0, 12.0, 0.0], plain), ([0.0, 0.0, 0.0], patches)]
)
def test_no_spin_stands_out_where_none_shows(turn, pattern):
    assert spin.spin_of(*looks(torch.tensor(turn), pattern), MOST)[1] < 5


def test_a_look_has_the_shades_of_the_cells_that_face_the_camera():
    shades, seen = spin.look(picture(0, 0.5, torch.zeros(3), plain), camera(0), centre(0.5), RADIUS)
    away = spin.cells()
    facing = (away * torch.nn.functional.normalize(camera(0).center - centre(0.5), dim=0)).sum(1)
    assert not seen[facing < 0.2].any()
    assert seen[facing > 0.6].all()
    expected = 0.6 * (0.6 + 0.4 * away[:, 2])
    assert float((shades - expected)[facing > 0.6].abs().max()) < 0.03


def test_a_direction_lies_in_the_cell_of_its_middle():
    assert torch.equal(spin.cell_of(spin.cells()), torch.arange(spin.N_CELLS))


def test_too_few_looks_tell_nothing():
    times, shades, seen = looks(torch.zeros(3), patches)
    assert spin.spin_of(times[:3], shades[:3], seen[:3], MOST)[1] == 0
