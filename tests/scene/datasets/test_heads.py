"""What all readers of heads share: the mouth's box, the video, the posed head and its points."""

import math

import numpy as np
import pytest
import torch

from scene.datasets._flame_heads import on_surface
from scene.head.files import save_head_model
from scene.head.model import pose_head
from scene.head.points import nearest_surface
from scripts.demo.toy_head import toy_head
from tests.scene.datasets.reading import pixel, read
from tests.scene.datasets.tiny_folders import POINTS, TINY, flame_numbers
from utils.errors import InputError

FAMILIES = ("nerfblendshape", "nerface", "imavatar", "insta", "gaussianavatars")
POSED = ("imavatar", "gaussianavatars")


@pytest.fixture(scope="module")
def head_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("head") / "head.npz"
    save_head_model(toy_head(), file)
    return str(file)


@pytest.fixture(params=FAMILIES)
def family(request, tmp_path):
    TINY[request.param](tmp_path)
    return request.param, tmp_path


@pytest.fixture(params=POSED)
def posed(request, tmp_path):
    TINY[request.param](tmp_path)
    return request.param, tmp_path


def test_the_video_sways_about_the_head_and_every_frame_is_conditioned(family):
    scene = read(*family)
    first, shown = scene.test[0], {frame.index: frame for frame in scene.test}
    for frame in scene.video:
        assert frame.image_path is None
        torch.testing.assert_close(frame.expression, shown[frame.index].expression)
        assert frame.index in shown
        for name in ("flame_pose", "head_to_world"):
            assert (getattr(frame, name) is None) == (getattr(first, name) is None)
        turn = frame.camera.viewmat[:3, :3] @ first.camera.viewmat[:3, :3].T
        assert math.degrees(math.acos(min(1.0, float(turn.trace() - 1) / 2))) <= 25.01


@pytest.mark.parametrize("name", ["nerface", "nerfblendshape"])
def test_the_plate_is_behind_filmed_frames_and_does_not_turn_with_the_video(name, tmp_path):
    TINY[name](tmp_path)
    scene = read(name, tmp_path, part="all", plate=True)
    assert all(frame.plate_path is not None for frame in [*scene.train, *scene.test, *scene.val])
    assert all(frame.plate_path is None for frame in scene.video)


def test_the_mouth_s_box_is_the_user_s_where_given(family):
    box = [-1.0, -2, -3, 1, 2, 3]
    np.testing.assert_array_equal(read(*family, mouth_box=box).regions["mouth"].flatten(), box)
    with pytest.raises(InputError, match="mouth_box has 5 numbers"):
        read(*family, mouth_box=box[:5])
    with pytest.raises(InputError, match="lowest corner before"):
        read(*family, mouth_box=box[3:] + box[:3])


def test_random_points_surround_the_head(family):
    name, folder = family
    scene = read(name, folder, init_points=500)
    cameras = [frame.camera for frame in scene.train]
    pixels = np.array(
        [[pixel(c, xyz) for xyz in scene.points.xyz.double().numpy()] for c in cameras]
    )
    assert len(scene.points.xyz) == 500
    assert np.abs(np.median(pixels, axis=1) - (8, 6)).max() < 3


def test_a_head_stands_where_its_model_is_skinned_to(tmp_path, head_file):
    TINY["gaussianavatars"](tmp_path)
    model, scene = toy_head(), read("gaussianavatars", tmp_path, head_model=head_file)
    for frame in scene.train:
        numbers = {k: torch.from_numpy(v) for k, v in flame_numbers(frame.index).items()}
        skinned = pose_head(
            model,
            frame.flame_pose,
            shape=numbers["shape"],
            expression=numbers["expr"][0],
            translation=numbers["translation"][0],
        )
        torch.testing.assert_close(frame.head_to_world, skinned.transforms[1], atol=1e-6, rtol=0)


def test_units_of_four_to_a_metre_reach_the_joints(tmp_path, head_file):
    TINY["imavatar"](tmp_path)
    frame = read("imavatar", tmp_path, head_model=head_file).train[0]
    subject = read("imavatar", tmp_path).subject
    skinned = pose_head(
        toy_head(), frame.flame_pose, shape=subject.shape, expression=frame.expression
    )
    expected = skinned.transforms[1].clone()
    expected[:3, 3] *= 4
    torch.testing.assert_close(frame.head_to_world, expected, atol=1e-5, rtol=0)


def test_without_a_model_the_joints_are_a_little_off(posed, head_file):
    with_model, without = (read(*posed, head_model=m).train for m in (head_file, ""))
    for a, b in zip(with_model, without, strict=True):
        torch.testing.assert_close(a.head_to_world[:3, :3], b.head_to_world[:3, :3])
        shift = (a.head_to_world - b.head_to_world)[:3, 3].norm()
        assert shift < 0.03 * (4 if posed[0] == "imavatar" else 1)  # 3 cm


def test_a_fixed_head_shows_every_point_where_a_moving_one_did(posed):
    moving, fixed = (read(*posed, fixed_head=value) for value in (False, True))
    for a, b in zip(moving.train, fixed.train, strict=True):
        assert b.head_to_world is None
        for xyz in POINTS:
            world = a.head_to_world.double().numpy() @ [*xyz, 1]
            np.testing.assert_allclose(pixel(b.camera, xyz), pixel(a.camera, world[:3]), atol=2e-3)


@pytest.mark.parametrize("name", ["imavatar", "insta", "gaussianavatars"])
def test_points_start_on_the_posed_head(name, tmp_path, head_file):
    TINY[name](tmp_path)
    scene = read(name, tmp_path, head_model=head_file, init_points=400)
    frame, subject = scene.train[0], scene.subject
    pose = torch.zeros(15) if frame.flame_pose is None else frame.flame_pose
    shape = subject.shape if len(subject.shape) else None
    vertices = pose_head(toy_head(), pose, shape=shape, expression=frame.expression).vertices
    if name == "gaussianavatars":
        vertices = vertices + torch.from_numpy(flame_numbers(0)["translation"])
    near = nearest_surface(scene.points.xyz[:400] / subject.scale, vertices, toy_head().faces)
    assert len(scene.points.xyz) == 480  # some about it
    # The throat stretches between trunk and head; starting points turn with the head alone.
    assert near.distance.median() < 1e-4
    assert near.distance.max() < 0.03


def test_points_are_uniform_over_a_surface():
    corners = torch.tensor([[0.0, 0, 0], [3, 0, 0], [0, 1, 0], [3, 1, 0], [0, 0, 1], [0, 1, 1]])
    faces = torch.tensor([[0, 1, 2], [1, 3, 2], [0, 4, 2], [4, 5, 2]])  # 3 x 1 floor, 1 x 1 wall
    points = on_surface(corners, faces, torch.rand(6, 3), 4_000)
    on_floor = points.xyz[:, 2] == 0
    assert on_floor.float().mean() == pytest.approx(0.75, abs=0.03)
    counts = torch.histc(points.xyz[on_floor][:, 0], 3, 0, 3) / on_floor.sum()
    torch.testing.assert_close(counts, torch.full((3,), 1 / 3), atol=0.03, rtol=0)
    assert 0 <= points.rgb.min() <= points.rgb.max() <= 1
