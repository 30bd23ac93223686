"""The nets on drawn heads, which are nobody's; skipped where the nets are not there."""

import numpy as np
import pytest

from capture.nets import FOLDER, Crop, FaceNets, missing, roll
from scripts.demo.talking_head.looks import Looks
from scripts.demo.talking_head.record import OPENGL, draw
from utils.errors import InputError

SIZE = 192


@pytest.fixture(scope="module")
def nets():
    pytest.importorskip("ai_edge_litert", reason="requirements-face.txt is not installed")
    if missing(FOLDER):
        pytest.skip("the nets are not there (scripts/get_face_nets.py)")
    return FaceNets()


@pytest.fixture(scope="module")
def face():
    from scene.head.files import FREE_HEAD, load_head_model

    if not FREE_HEAD.is_file():
        pytest.skip("the free head was not built (scripts/make_head_model.py)")
    model = load_head_model(FREE_HEAD)
    rest = model.template.double().numpy()
    K = np.array([[3.0 * SIZE, 0, SIZE / 2], [0, 3.0 * SIZE, SIZE / 2], [0, 0, 1]])
    viewmat = OPENGL.copy()
    viewmat[2, 3] = 1.0
    return draw(Looks.of(model, rest), rest, viewmat, K, SIZE).on_white


def test_a_crop_and_back_is_where_it_was():
    crop = Crop(40.0, 30.0, 20.0, 0.3)
    matrix = crop.to_picture(10)
    assert matrix[:, :2] @ [5, 5] + matrix[:, 2] == pytest.approx([40, 30])
    there = crop.back(np.array([[0.0, 0.0], [10.0, 0.0]], np.float32), 10)
    assert np.hypot(*(there[1] - there[0])) == pytest.approx(20, abs=1e-4)
    assert roll(there[0], there[1]) == pytest.approx(0.3, abs=1e-5)


def test_a_crop_shows_what_lies_there():
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[20:30, 40:50] = 255
    cut = Crop(45.0, 25.0, 20.0).cut(picture, 20)
    assert cut[6:14, 6:14].min() == 1
    assert cut[:4].max() == 0


def test_missing_nets_are_said_in_one_line(tmp_path):
    pytest.importorskip("ai_edge_litert", reason="requirements-face.txt is not installed")
    with pytest.raises(InputError, match=r"no faces.tflite; run python scripts/get_face_nets.py"):
        FaceNets(tmp_path)


def test_a_drawn_head_is_one_face_and_its_points_lie_on_it(nets, face):
    (box,) = nets.faces(face)
    points, score = nets.points(face, box.crop())
    assert score > 0.9
    assert abs(points[1, 0] - SIZE / 2) < 3  # the nose's tip, on a symmetric head
    assert points[33, 0] < points[263, 0]  # the person's right eye is on the left
    assert points[152, 1] > points[1, 1] > points[10, 1]


def test_a_moved_picture_moves_the_points(nets, face):
    moved = np.roll(face, 12, 1)
    a, b = (nets.points(p, nets.faces(p)[0].crop())[0] for p in (face, moved))
    off = b[:, :2] - a[:, :2]
    assert np.median(off[:, 0]) == pytest.approx(12, abs=1.0)
    assert np.median(off[:, 1]) == pytest.approx(0, abs=1.0)


def test_eyes_are_the_same_in_the_mirror(nets, face):
    points, _ = nets.points(face, nets.faces(face)[0].crop())
    lids, irises = nets.eyes(face, points)
    right, left = irises[:, 0]
    assert right[0] + left[0] == pytest.approx(SIZE, abs=2.0)
    assert right[1] == pytest.approx(left[1], abs=1.5)
    assert np.ptp(lids[0, :, 0]) == pytest.approx(np.ptp(lids[1, :, 0]), rel=0.15)


def test_nothing_is_found_in_nothing(nets):
    blank = np.full((SIZE, SIZE, 3), 128, np.uint8)
    assert nets.faces(blank) == []
    assert nets.palms(blank) == []


def test_the_person_is_told_from_the_white(nets, face):
    matte = nets.person(face)
    assert matte[:20, :20].mean() < 0.1
    assert matte[SIZE // 2 - 10 : SIZE // 2 + 10, SIZE // 2 - 10 : SIZE // 2 + 10].mean() > 0.9
