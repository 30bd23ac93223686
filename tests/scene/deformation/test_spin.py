"""Spins found in pictures of balls that are drawn by casting rays, without a Gaussian."""

import math

import pytest
import torch

from scene.deformation import spin
from scene.methods._carrier import LEAD
from tests.balls import N_LOOKS, RADIUS, camera, centre, patches, picture, plain

MOST = 8 * math.pi


def looks(turn, pattern):
    times = torch.linspace(0, 1, N_LOOKS)
    seen = [
        spin.look(picture(k, time, turn, pattern, where), camera(k), where, RADIUS)
        for k, (time, where) in enumerate((t, centre(t)) for t in times.tolist())
    ]
    return times, *map(torch.stack, zip(*seen, strict=True))


@pytest.mark.parametrize("turn", [[0.0, 18.85, 0.0], [-6.0, 5.0, 11.0]])
def test_the_spin_of_a_ball_with_patches_is_found(turn):
    turn = torch.tensor(turn)
    found, lead = spin.spin_of(*looks(turn, patches), MOST)
    assert float((found - turn).norm()) < 0.5  # radians over the whole clip
    assert lead > LEAD


@pytest.mark.parametrize(
    ("turn", "pattern"), [([0.0, 12.0, 0.0], plain), ([0.0, 0.0, 0.0], patches)]
)
def test_no_spin_stands_out_where_none_shows(turn, pattern):
    assert spin.spin_of(*looks(torch.tensor(turn), pattern), MOST)[1] < LEAD


def test_a_look_has_the_shades_of_the_cells_that_face_the_camera():
    image = picture(0, 0.5, torch.zeros(3), plain, centre(0.5))
    shades, seen = spin.look(image, camera(0), centre(0.5), RADIUS)
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
