"""Splines, rides and rigidity of control points against SciPy, rigid motion and finite
differences."""

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from scene.deformation import control_points as cp
from utils.rotations import axis_angle_to_matrices, quats_to_matrices


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("n_knots", [5, 24])
@pytest.mark.parametrize("time", [0.0, 0.31, 0.5, 1.0])
def test_splines_equal_scipy_s(n_knots, time):
    knots = random(2, n_knots, 3).double()
    pieces = n_knots - cp.DEGREE
    places = np.arange(-cp.DEGREE, pieces + cp.DEGREE + 1)
    expected = [BSpline(places, k.numpy(), cp.DEGREE)(time * pieces) for k in knots]
    assert torch.allclose(cp.at(knots, time), torch.tensor(np.stack(expected)), atol=1e-7)


def test_a_motion_goes_on_straight_ahead_beyond_what_is_known():
    knots = torch.zeros(1, 10, 7)
    knots[0, 3:6, 0] = torch.tensor([1.0, 2.0, 3.0])
    cp.widened(knots, (3, 5), (1, 7))
    assert knots[0, :, 0].tolist() == [-1, -1, 0, 1, 2, 3, 4, 5, 5, 5]
    assert not knots[0, :, 1:].any()


def rigid_motion(anchors, turn, shift):
    """Of control points that all move as one body: x goes to R x + shift."""
    half = math.tan(float(turn.norm()) / 2) * turn / turn.norm()
    quats = torch.nn.functional.normalize(torch.cat([torch.ones(1), half]), dim=0)
    rotation = axis_angle_to_matrices(turn)
    n = len(anchors)
    motion = {
        "move": anchors @ rotation.T + shift - anchors,
        "quats": quats.repeat(n, 1),
        "grow": torch.zeros(n, 1),
    }
    return motion, rotation


def test_gaussians_on_one_body_move_as_the_body_does():
    anchors, means = random(6, 3), random(50, 3, seed=1)
    turn, shift = torch.tensor([0.3, -0.8, 0.5]), torch.tensor([2.0, 0.0, -1.0])
    motion, rotation = rigid_motion(anchors, turn, shift)
    columns = {"means": means, "quats": random(50, 4, seed=2), "log_scales": random(50, 3, seed=3)}
    nearest = torch.randint(6, (50, 4), generator=torch.Generator().manual_seed(4))
    weights = random(50, 4, seed=5).softmax(1)
    posed = cp.ride(columns, nearest, weights, anchors, motion)
    assert torch.allclose(posed["means"], means @ rotation.T + shift, atol=1e-5)
    turned = rotation @ quats_to_matrices(columns["quats"])
    assert torch.allclose(quats_to_matrices(posed["quats"]), turned, atol=1e-5)
    assert torch.equal(posed["log_scales"], columns["log_scales"])


def test_growth_scales_about_the_control_point():
    motion = {
        "move": torch.zeros(1, 3),
        "quats": torch.tensor([[1.0, 0, 0, 0]]),
        "grow": torch.full((1, 1), math.log(2)),
    }
    columns = {
        "means": torch.tensor([[3.0, 1.0, 0.0]]),
        "quats": torch.tensor([[1.0, 0, 0, 0]]),
        "log_scales": torch.zeros(1, 3),
    }
    anchors = torch.tensor([[1.0, 1.0, 0.0]])
    only = torch.zeros(1, 1, dtype=torch.int64)
    posed = cp.ride(columns, only, torch.ones(1, 1), anchors, motion)
    assert torch.allclose(posed["means"], torch.tensor([[5.0, 1.0, 0.0]]))
    assert torch.allclose(posed["log_scales"], torch.full((1, 3), math.log(2)))


def test_at_the_moment_of_rest_nothing_has_moved():
    anchors, knots = random(4, 3), random(4, 9, 7, seed=1)
    knots[..., 3:] = 0
    motion = cp.motions(anchors, knots, 0.5, 0.5)
    columns = {
        "means": random(9, 3, seed=2),
        "quats": random(9, 4, seed=3),
        "log_scales": torch.zeros(9, 3),
    }
    nearest = torch.zeros(9, 2, dtype=torch.int64)
    posed = cp.ride(columns, nearest, torch.full((9, 2), 0.5), anchors, motion)
    for name, value in columns.items():
        assert torch.allclose(posed[name], value, atol=1e-6), name


def test_a_rigid_body_does_not_stretch_and_another_does():
    anchors = random(6, 3)
    nearest = torch.arange(6).repeat(6, 1)
    near = torch.ones(6, 6)
    still, _ = rigid_motion(anchors, torch.tensor([1e-6, 0, 0]), torch.zeros(3))
    moved, _ = rigid_motion(anchors, torch.tensor([0.4, 0.2, -0.9]), torch.ones(3))
    stretch, unlike = cp.rigidity(anchors, still, moved, nearest, near)
    assert float(stretch) < 1e-9
    assert float(unlike) < 1e-12
    pulled = {**moved, "move": moved["move"] * torch.linspace(1, 2, 6)[:, None]}
    assert float(cp.rigidity(anchors, still, pulled, nearest, near)[0]) > 0.01


def test_two_that_touch_once_are_apart():
    knots = torch.zeros(2, 12, 7)
    knots[1, :, 0] = torch.linspace(-3, 3, 12)
    found = cp.apart(torch.zeros(2, 3), knots)
    assert found[0, 1] > 2
    assert found[0, 0] == 0


def test_unrest_pulls_harder_on_what_hardly_moves():
    pulls = []
    for speed in (0.001, 1.0):
        knots = (speed * torch.linspace(0, 1, 12))[None, :, None].repeat(1, 1, 3).requires_grad_()
        cp.unrest(knots, 0.05).backward()
        pulls.append(float(knots.grad.abs().max()))
    assert pulls[0] > 5 * pulls[1] > 0


@pytest.mark.parametrize("name", ["means", "anchors", "knots", "weights"])
def test_gradients_are_those_of_finite_differences(name):
    inputs = {
        "means": random(5, 3).double(),
        "anchors": random(3, 3, seed=1).double(),
        "knots": 0.3 * random(3, 6, 7, seed=2).double(),
        "weights": random(5, 2, seed=3).double().softmax(1),
    }
    nearest = torch.tensor([[0, 1], [1, 2], [2, 0], [0, 2], [1, 0]])

    def posed(value):
        given = {**inputs, name: value}
        motion = cp.motions(given["anchors"], given["knots"], 0.3, 0.5)
        columns = {
            "means": given["means"],
            "quats": random(5, 4, seed=4).double(),
            "log_scales": torch.zeros(5, 3, dtype=torch.float64),
        }
        return tuple(cp.ride(columns, nearest, given["weights"], given["anchors"], motion).values())

    assert torch.autograd.gradcheck(posed, inputs[name].requires_grad_())


def test_points_that_hang_together_are_one_thing():
    places = torch.tensor([0.0, 5.0, 1.0, 5.5, 1.9, 9.0])[:, None]
    distances = (places - places.T).abs()
    assert cp.things(distances, 1.1).tolist() == [0, 1, 0, 1, 0, 5]


def test_a_thing_that_spins_is_one_body_and_the_others_move_as_they_do():
    anchors = random(6, 3)
    motion = {"move": random(6, 3, seed=1), "quats": random(6, 4, seed=2), "grow": random(6, 1)}
    motion["quats"][0::2] = torch.tensor([2.0, 0.4, 0.0, -0.6])
    thing = torch.tensor([0, 1, 0, 1, 0, 5])
    share = torch.tensor([[0.3], [0.5], [0.2], [0.5], [0.5], [1]])
    spin = torch.tensor([8.0, -2.0, 4.0])
    found = cp.spun(anchors, motion, thing, share, (thing == 0)[:, None] * spin, 0.5)
    weights, own = share[0::2], anchors[0::2]
    middle, shift = (weights * own).sum(0), (weights * motion["move"][0::2]).sum(0)
    growth = float((weights * motion["grow"][0::2]).sum().exp())
    rotation = axis_angle_to_matrices(0.5 * spin) @ quats_to_matrices(motion["quats"][0])
    expected = growth * (own - middle) @ rotation.T + middle + shift
    assert torch.allclose((anchors + found["move"])[0::2], expected, atol=1e-5)
    assert torch.allclose(
        quats_to_matrices(found["quats"][0::2]), rotation.expand(3, 3, 3), atol=1e-5
    )
    for name, value in motion.items():
        assert torch.equal(found[name][1::2], value[1::2])


def test_a_thing_that_spins_carries_its_gaussians_as_one_body():
    """Also beyond half a turn, where quaternions of neighbours must not cancel."""
    anchors, means = random(6, 3), random(50, 3, seed=1)
    motion = {"move": torch.zeros(6, 3), "quats": torch.eye(4)[:1].repeat(6, 1)}
    motion["grow"] = torch.zeros(6, 1)
    spin = torch.tensor([0.0, 18.0, 3.0])
    one = torch.zeros(6, dtype=torch.int64), torch.full((6, 1), 1 / 6), spin.repeat(6, 1)
    columns = {"means": means, "quats": random(50, 4, seed=2), "log_scales": random(50, 3)}
    nearest = torch.randint(6, (50, 4), generator=torch.Generator().manual_seed(4))
    weights = random(50, 4, seed=5).softmax(1)
    posed = cp.ride(columns, nearest, weights, anchors, cp.spun(anchors, motion, *one, 0.4))
    rotation = axis_angle_to_matrices(0.4 * spin)
    middle = anchors.mean(0)
    assert torch.allclose(posed["means"], (means - middle) @ rotation.T + middle, atol=1e-5)
    turned = rotation @ quats_to_matrices(columns["quats"])
    assert torch.allclose(quats_to_matrices(posed["quats"]), turned, atol=1e-5)
