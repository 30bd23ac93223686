"""Neighbourhoods, convex places in them, and how they turn."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from scene.deformation.volumes import _BestTurn, inside, members, neighbourhoods, turns
from utils.random import generator
from utils.rotations import quats_to_matrices


def noise(*shape, key="volumes"):
    return torch.randn(*shape, generator=generator(0, key))


def turned(cloud, angles=(0.7, -1.1, 2.0), shift=(3.0, -2.0, 0.5)):
    R = torch.from_numpy(Rotation.from_euler("xyz", angles).as_matrix()).float()
    return cloud @ R.T + torch.tensor(shift), R


def turned_in(near, before, after):
    return turns(members(near, before), members(near, after))


def test_neighbours_are_near_over_the_whole_clip():
    """Two groups that touch in one of three moments."""
    group = 0.1 * noise(20, 3)
    other = group + torch.tensor([0.0, 0.0, 0.01])
    paths = torch.stack(
        [torch.cat([group, other + torch.tensor([away, 0.0, 0.0])]) for away in (2.0, 0.0, 2.0)]
    )
    near = neighbourhoods(paths, 8)
    assert torch.equal(near[:, 0], torch.arange(40))
    assert torch.equal(near < 20, (torch.arange(40) < 20)[:, None].expand(40, 8))
    flat = paths.transpose(0, 1).reshape(40, -1)
    slow = (flat[:, None] - flat[None]).norm(dim=2).argsort(1)[:, :8]
    assert [set(row) for row in near.tolist()] == [set(row) for row in slow.tolist()]


def test_rows_stay_in_the_box_of_their_volume():
    cloud, anchor = noise(50, 3), torch.arange(50).repeat(3)
    near = neighbourhoods(cloud[None], 6)
    weights = noise(150, 6, key="weights").softmax(1)
    found = inside(members(near, cloud), anchor, weights)
    own = cloud[near[anchor]]
    assert (found >= own.amin(1) - 1e-6).all()
    assert (found <= own.amax(1) + 1e-6).all()
    slow = torch.stack([weights[g] @ cloud[near[anchor[g]]] for g in range(150)])
    assert torch.allclose(found, slow, atol=1e-6)


def test_a_rigid_motion_is_found_as_it_is():
    cloud = noise(200, 3)
    near = neighbourhoods(cloud[None], 20)
    moved, R = turned(cloud)
    assert float((quats_to_matrices(turned_in(near, cloud, moved)) - R).abs().max()) < 1e-5


def test_the_best_turn_is_that_of_scipy():
    before, after = noise(40, 3), noise(40, 3, key="after")
    near = neighbourhoods(before[None], 10)
    found = quats_to_matrices(turned_in(near, before, after)).numpy()
    for k, row in enumerate(near.numpy()):
        a, b = (part[row].numpy() - part[row].numpy().mean(0) for part in (before, after))
        theirs = Rotation.align_vectors(b, a)[0].as_matrix()
        assert np.abs(found[k] - theirs).max() < 1e-3


def flat(n):
    return torch.cat([noise(n, 2), torch.zeros(n, 1)], 1)


def on_a_line(n):
    return noise(n, 1) * torch.tensor([[1.0, 2.0, -1.0]])


def in_one_place(n):
    return torch.ones(n, 3)


@pytest.mark.parametrize("shape", [flat, on_a_line, in_one_place])
def test_degenerate_neighbourhoods_turn_without_nan(shape):
    cloud = shape(12)
    near = torch.arange(12).repeat(12, 1)
    moved, R = turned(cloud)
    moved.requires_grad_()
    found = turned_in(near, cloud, moved)
    (found * noise(12, 4, key="weights")).sum().backward()
    assert torch.isfinite(found).all()
    assert torch.isfinite(moved.grad).all()
    assert torch.allclose(found.norm(dim=1), torch.ones(12), atol=1e-6)
    carried = cloud @ quats_to_matrices(found[:1])[0].detach().T
    away = (carried - carried.mean(0)) - (moved - moved.mean(0)).detach()
    assert float(away.abs().max()) < 1e-4  # a best turn, whichever it is
    if shape is flat:
        assert float((quats_to_matrices(found) - R).abs().max()) < 1e-5


def test_points_on_a_line_turn_as_little_as_they_can():
    cloud = on_a_line(12)
    found = turned_in(torch.arange(12).repeat(12, 1), cloud, cloud)
    assert torch.allclose(found, torch.tensor([1.0, 0, 0, 0]).expand(12, 4), atol=1e-4)


def test_half_a_turn_is_found():
    cloud = noise(30, 3)
    moved, R = turned(cloud, angles=(np.pi, 0, 0))
    found = turned_in(torch.arange(30)[None], cloud, moved)
    assert float((quats_to_matrices(found) - R).abs().max()) < 1e-5


def test_the_gradient_is_that_of_finite_differences():
    H = noise(6, 3, 3).double() + 2 * torch.eye(3, dtype=torch.float64)
    assert torch.autograd.gradcheck(_BestTurn.apply, H.requires_grad_(), atol=1e-4, rtol=1e-3)
