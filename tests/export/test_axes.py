"""Turned Gaussians look the same to a camera that is turned along."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from export import axes
from gaussian_renderer import render
from scene.cameras import Camera, intrinsics
from scene.paths import look_at
from tests.export.test_formats import cloud
from utils.rotations import quats_to_matrices
from utils.sh import sh_basis


def rotations():
    source = torch.Generator().manual_seed(1)
    return quats_to_matrices(torch.randn(5, 4, generator=source, dtype=torch.float64))


def directions(n=200):
    source = torch.Generator().manual_seed(2)
    return torch.nn.functional.normalize(
        torch.randn(n, 3, generator=source, dtype=torch.float64), dim=1
    )


def test_the_basis_is_that_of_scipy():
    d = directions()
    polar, azimuth = torch.arccos(d[:, 2]).numpy(), torch.atan2(d[:, 1], d[:, 0]).numpy()
    for degree in range(4):
        for m in range(-degree, degree + 1):
            value = sph_harm_y(degree, abs(m), polar, azimuth)  # with the phase of 3DGS
            truth = value.real if m == 0 else np.sqrt(2) * (value.imag if m < 0 else value.real)
            found = sh_basis(d, 3)[:, degree**2 + degree + m]
            np.testing.assert_allclose(found, truth, atol=1e-12)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_every_coefficient_turns_to_where_its_function_goes(degree):
    d, band = directions(), slice(degree**2, (degree + 1) ** 2)
    for rotation in rotations():
        turn = axes.sh_turn(rotation, degree)
        assert (turn @ turn.mT - torch.eye(2 * degree + 1)).abs().max() < 1e-12
        before = sh_basis(d, 3)[:, band]
        after = sh_basis(d @ rotation.mT, 3)[:, band] @ turn
        assert (after - before).abs().max() < 1e-5


def test_a_half_turn_about_z_negates_the_odd_orders():
    signs = [axes.sh_turn(axes.Y_DOWN, degree).diagonal() for degree in (1, 2, 3)]
    words = "".join("+" if sign > 0 else "-" for sign in torch.cat(signs))
    assert words == "-+-" + "+-+-+" + "-+-+-+-"  # computed from the basis by hand


def test_a_turned_scene_is_drawn_the_same_from_a_turned_camera():
    given = cloud(n=200)
    given = replace(given, scales=3 * given.scales)
    K = intrinsics(80.0, 80.0, 32.0, 32.0)
    up = torch.tensor([0.0, 0.0, 1.0])
    viewmat = look_at(torch.tensor([3.0, 3.0, 2.0]), torch.zeros(3), up)
    camera = Camera(viewmat, K, 64, 64)
    for rotation in rotations()[:2]:
        moved = axes.turned(given, rotation)
        back = torch.eye(4)
        back[:3, :3] = rotation.mT.float()
        with torch.no_grad():
            image = render(camera, given, torch.zeros(3)).image
            again = render(replace(camera, viewmat=viewmat @ back), moved, torch.zeros(3)).image
        assert image.std() > 0.05
        assert (image - again).abs().mean() < 1e-5


def test_quarter_turns_move_no_digit():
    given = cloud(n=50)
    quarter = torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=torch.float64)
    moved = axes.turned(given, quarter)
    assert torch.equal(moved.means, given.means[:, [1, 2, 0]])
    torch.testing.assert_close(axes.turned(moved, quarter.mT).sh, given.sh, atol=1e-6, rtol=0)
