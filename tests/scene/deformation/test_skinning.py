"""Skinning against the head model's own posing, and the identities that hold for any numbers."""

import math

import pytest
import torch

from scene.deformation.head_surface import APART, HeadSurface
from scene.deformation.skinning import (
    N_BONES,
    N_CORRECTIVES,
    Bases,
    BlendTable,
    Rig,
    SkinField,
    bones_in_world,
    distance,
    posed,
)
from scene.head.model import pose_head
from scene.head.points import nearest_surface
from scripts.demo.toy_head import toy_head
from utils.rotations import (
    axis_angle_to_matrices,
    matrices_to_quats,
    quats_to_matrices,
    rigid_inverse,
)

E = 20
JAW = 6


@pytest.fixture(scope="module")
def head():
    return toy_head().scaled(4)


def random(seed, *shape, size=1.0):
    return size * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def canonical_state():
    expression, pose = (
        0.3 * torch.rand(E, generator=torch.Generator().manual_seed(9)),
        torch.zeros(15),
    )
    pose[JAW] = 0.4
    return expression, pose


def state_of(rig, pose, expression):
    transforms, feature = rig(pose, expression)
    return bones_in_world(transforms, torch.eye(4)), torch.cat([expression, feature])


def still(points):
    """Quaternions of points that are not turned."""
    return torch.tensor([1.0, 0, 0, 0]).expand(len(points), 4)


def of_vertices(head):
    """The head model's own weights and bases at its vertices."""
    skin = torch.cat([torch.zeros(len(head.template), 1), head.skin_weights], 1)
    return skin, torch.cat([head.expression_basis[..., :E], head.pose_basis], -1)


@pytest.mark.parametrize("seed", range(5))
def test_with_the_head_model_s_own_numbers_it_is_the_head_model_s_skinning(head, seed):
    rig, (skin, blend) = Rig(E, head), of_vertices(head)
    expression, pose = canonical_state()
    places = pose_head(head, pose, expression=expression).vertices
    rest, known = state_of(rig, pose, expression)
    other, turned = random(seed, E, size=0.4), random(seed + 50, 15, size=0.4)
    bones, coefficients = state_of(rig, turned, other)
    moved = blend @ (coefficients - known)
    found, _ = posed(places, moved, skin, still(places), bones, rest)
    expected = pose_head(head, turned, expression=other).vertices
    assert (expected - places).norm(dim=1).max() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_canonical_state_gives_the_canonical_points(head):
    rig = Rig(E, head)
    rest, known = state_of(rig, *reversed(canonical_state()))
    places = random(1, 400, 3)
    weights = torch.softmax(random(2, 400, N_BONES, size=3.0), 1)
    blend = random(3, 400, 3, E + N_CORRECTIVES) @ (known - known)
    quats = torch.nn.functional.normalize(random(16, 400, 4), dim=1)
    found, turned = posed(places, blend, weights, quats, rest, rest)
    torch.testing.assert_close(found, places, atol=1e-6, rtol=0)
    torch.testing.assert_close(turned, quats, atol=1e-6, rtol=0)


def test_the_ghost_moves_with_nothing_and_a_world_of_the_head_moves_it_back(head):
    rig, (expression, _) = Rig(E, head), canonical_state()
    transforms, _ = rig(random(4, 15, size=0.4), expression)
    torch.testing.assert_close(bones_in_world(transforms, torch.eye(4))[0], torch.eye(4))
    base = rigid_inverse(transforms[1])
    bones = bones_in_world(transforms, base)
    torch.testing.assert_close(bones[2], torch.eye(4), atol=1e-6, rtol=0)  # the neck's
    torch.testing.assert_close(transforms[1] @ bones[0], torch.eye(4), atol=1e-6, rtol=0)


def test_turns_are_those_within_the_blended_motion():
    """Against the rotation of the polar decomposition, for joints within 30 degrees."""
    turn = axis_angle_to_matrices(random(10, N_BONES, 3, size=0.2))
    turn[0] = torch.eye(3)
    bones, rest = torch.eye(4).repeat(2, N_BONES, 1, 1)
    bones[:, :3, :3] = turn
    weights = torch.softmax(random(11, 200, N_BONES, size=2.0), 1)
    u, _, v = torch.linalg.svd(torch.einsum("nj,jrc->nrc", weights, turn))
    places = torch.zeros(200, 3)
    found = quats_to_matrices(posed(places, places, weights, still(places), bones, rest)[1])
    angle = ((found.mT @ (u @ v)).diagonal(dim1=1, dim2=2).sum(1) - 1) / 2
    assert angle.clamp(max=1).acos().max() < math.radians(1.5)


def test_matrices_to_quats_is_the_inverse_even_at_half_a_turn():
    axes = torch.nn.functional.normalize(random(12, 200, 3), dim=1)
    angles = torch.linspace(0, math.pi, 200)[:, None]
    matrices = axis_angle_to_matrices((axes * angles).double())
    found = matrices_to_quats(matrices)
    torch.testing.assert_close(quats_to_matrices(found), matrices, atol=1e-6, rtol=0)


@pytest.mark.parametrize("smooth", [False, True])
def test_a_frame_s_blend_is_the_product_of_the_whole_bases(smooth):
    torch.manual_seed(0)
    field = SkinField(E, 0.7, width=16, depth=2, octaves=2, smooth=smooth)
    points, skin = random(13, 50, 3), torch.softmax(random(14, 50, N_BONES), 1)
    known = Bases(random(17, 50, 3, E + N_CORRECTIVES), skin, torch.ones(50, 1))
    found, offset = field.whole(points, None)
    assert not offset.any()
    assert not found.blend.any()
    torch.testing.assert_close(found.skin, torch.full_like(skin, 1 / N_BONES))
    found, _ = field.whole(points, known)
    assert torch.equal(found.blend, known.blend)
    torch.testing.assert_close(found.skin, skin, atol=1e-3, rtol=0)  # of the faint weights
    with torch.no_grad():
        for layer in (field.blend, field.skin):
            layer.weight.normal_()
            layer.bias.normal_()
    coefficients = random(15, E + N_CORRECTIVES)
    for prior in (None, known):
        bases, offset = field.whole(points, prior)
        found = field(points, coefficients, prior)
        expected = bases.blend @ coefficients, bases.skin, offset
        for ours, wanted in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, wanted, atol=1e-4, rtol=1e-4)
        assert torch.isfinite(bases.skin).all()
    with torch.no_grad():
        field.skin.bias[2] = 1e4  # exp(20 * 1e4) is no number
    assert torch.isfinite(field.whole(points, known)[0].skin).all()


@pytest.mark.parametrize("count", [1, 16, 50])
def test_a_table_of_bases_gives_their_sums_to_half_a_float_s_precision(count):
    bases, coefficients = random(18, count, 3, E + N_CORRECTIVES), random(19, E + N_CORRECTIVES)
    found = BlendTable(bases, 0.25)(coefficients)
    most = (bases.abs() @ coefficients.abs()).max()
    torch.testing.assert_close(found, bases @ coefficients, atol=float(2**-11 * most), rtol=0)


def test_the_distance_from_the_head_model_is_the_published_sum():
    spread = torch.tensor([0.5, 0.25, 0.0])
    n = len(spread)

    def bases(blend, skin):
        return Bases(
            torch.full((7, 3, n + N_CORRECTIVES), blend), torch.full((7, 6), skin), torch.ones(7, 1)
        )

    found = distance(bases(0.3, 0.2), bases(0.1, 0.5), spread, unit=2.0)
    square = (10 * 0.2 / 2.0) ** 2
    expressions = square * (1 / 0.25 + 1 / 0.0625 + 0) / n  # the dead one counts nothing
    expected = 0.1 * 0.3**2 + 10 * expressions / n + 10 * square
    assert float(found) == pytest.approx(expected, rel=1e-5)
    still = distance(bases(0.3, 0.2), bases(0.1, 0.5), torch.zeros(3), unit=2.0)
    assert float(still) == pytest.approx(0.1 * 0.3**2 + 10 * square, rel=1e-5)


@pytest.fixture(scope="module")
def surface(head):
    return HeadSurface(head, *canonical_state(), 1.0)


@pytest.mark.parametrize("by_vertex", [False, True])
def test_at_a_vertex_the_surface_says_what_the_model_says(head, surface, by_vertex):
    found = surface.bases(surface.vertices[::7], by_vertex=by_vertex)
    skin, blend = of_vertices(head)
    # Seam vertices lie in one place; the first of them may stand for the other.
    same = (found.skin - skin[::7]).abs().amax(1) < 1e-4
    assert same.float().mean() > 0.95
    torch.testing.assert_close(found.blend[same], blend[::7][same], atol=1e-4, rtol=0)
    assert found.gate.min() > 0.999


def test_hair_and_shoulders_hang_on_the_head_and_on_nothing(surface):
    top = surface.vertices[surface.vertices[:, 1].argmax()] + torch.tensor([0.0, 2 * APART, 0.0])
    low = surface.vertices[surface.vertices[:, 1].argmin()] - torch.tensor([0.0, 2 * APART, 0.0])
    found = surface.bases(torch.stack([top, low]))
    assert not found.gate.any()
    assert not found.blend.any()
    neck, ghost = 2, 0
    assert found.skin[0, neck] == found.skin[1, ghost] == 1
    dragged = surface.bases(torch.stack([top, low]), by_vertex=True, anywhere=True)
    assert bool((dragged.gate == 1).all())
    torch.testing.assert_close(dragged.skin.sum(1), torch.ones(2))


def test_points_start_on_the_skin_and_a_few_about_it(surface):
    points, rgb = surface.start(600, seed=0)
    assert points.shape == rgb.shape == (600, 3)
    away = nearest_surface(points, surface.vertices, surface.faces).distance
    assert away[:500].quantile(0.95) < 1e-5
    assert away[:500].max() < 0.03  # not every triangle is tried
    assert away[500:].median() > 0.02
    again, _ = surface.start(600, seed=0)
    assert torch.equal(points, again)
