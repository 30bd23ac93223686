"""Attaching points to a head, against brute force."""

import numpy as np
import pytest
import torch

from scene.head.model import pose_head, skin
from scene.head.points import closest_barycentric, nearest_surface, nearest_vertex, point_bases
from scripts.demo.toy_head import toy_head


@pytest.fixture(scope="module")
def model():
    return toy_head().to("cpu", torch.float64)


def points_near(model, count=300):
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(len(model.template), (count,), generator=generator)
    noise = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return model.template[ids] + 0.004 * noise


def test_nearest_vertex_is_the_one_brute_force_finds(model):
    points = points_near(model)
    attachment = nearest_vertex(points, model.template)
    distance = np.linalg.norm(points.numpy()[:, None] - model.template.numpy()[None], axis=-1)
    assert (attachment.vertices[:, 0].numpy() == distance.argmin(1)).all()
    np.testing.assert_allclose(attachment.distance, distance.min(1), atol=1e-12)


def test_closest_point_of_a_triangle_is_never_beaten_by_a_dense_sampling():
    generator = torch.Generator().manual_seed(1)
    triangles = torch.randn(200, 3, 3, generator=generator, dtype=torch.float64)
    points = 2 * torch.randn(200, 3, generator=generator, dtype=torch.float64)
    weights = closest_barycentric(points, triangles)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(200, dtype=torch.float64))
    found = ((weights[:, :, None] * triangles).sum(1) - points).norm(dim=1)
    steps = torch.linspace(0, 1, 60, dtype=torch.float64)
    u, v = (grid.flatten() for grid in torch.meshgrid(steps, steps, indexing="ij"))
    inside = u + v <= 1
    grid = torch.stack((1 - u - v, u, v), 1)[inside]
    sampled = torch.einsum("sk,tkc->tsc", grid, triangles)
    best = (sampled - points[:, None]).norm(dim=-1).min(1).values
    assert (found <= best + 1e-12).all()
    assert (best - found < 0.1).all()


def test_nearest_surface_is_the_nearest_of_all_triangles(model):
    points = points_near(model, 60)
    attachment = nearest_surface(points, model.template, model.faces)
    corners = model.template[model.faces]
    for point, distance in zip(points, attachment.distance, strict=True):
        weights = closest_barycentric(point.expand(len(corners), 3), corners)
        every = ((weights[:, :, None] * corners).sum(1) - point).norm(dim=1)
        torch.testing.assert_close(distance, every.min(), atol=1e-12, rtol=1e-9)
    at = attachment.interpolate(model.template)
    torch.testing.assert_close((at - points).norm(dim=1), attachment.distance)


@pytest.mark.parametrize("attach", ["vertex", "surface"])
def test_points_at_the_vertices_move_as_the_mesh_does(model, attach):
    attachment = (
        nearest_vertex(model.template, model.template)
        if attach == "vertex"
        else nearest_surface(model.template, model.template, model.faces)
    )
    bases = point_bases(model, attachment)
    generator = torch.Generator().manual_seed(2)
    pose = 0.3 * torch.randn(15, generator=generator, dtype=torch.float64)
    expression = torch.randn(50, generator=generator, dtype=torch.float64)
    posed = pose_head(model, pose, expression=expression)
    rest = attachment.interpolate(model.template) + bases.expression_basis @ expression
    rest = rest + bases.pose_basis @ posed.pose_feature
    moved = skin(rest, bases.skin_weights, posed.transforms)
    # Where two vertices share a place (the mouth's corners) a point may sit on either.
    twins = torch.cdist(model.template, model.template).fill_diagonal_(1).min(1).values < 1e-9
    torch.testing.assert_close(moved[~twins], posed.vertices[~twins], atol=1e-9, rtol=0)


def test_interpolated_weights_sum_to_one(model):
    points = points_near(model)
    bases = point_bases(model, nearest_surface(points, model.template, model.faces))
    torch.testing.assert_close(bases.skin_weights.sum(1), torch.ones(300, dtype=torch.float64))
