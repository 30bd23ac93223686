import json
import math

import cv2
import numpy as np
import pytest

from tests.scene.datasets.reading import decode, pixel, read
from tests.scene.datasets.tiny_folders import rgba_video, write_picture
from utils.errors import InputError
from utils.images import read_image


@pytest.fixture
def folder(tmp_path):
    rgba_video(tmp_path)
    return tmp_path


def test_names_are_counted_not_spelled(folder):
    scene = read("rgba_video", folder)
    video = [f for f in scene.train if f.image_path.parent.name == "ref"]
    assert [f.image_path.stem for f in video] == ["0_rgba", "2_rgba", "10_rgba"]
    assert [(f.index, f.time) for f in video] == [(0, 0.0), (1, 0.5), (2, 1.0)]


def test_the_video_sees_the_subject_from_the_front(folder):
    front = read("rgba_video", folder).train[0].camera
    np.testing.assert_allclose(front.center.numpy(), [0, 0, 2], atol=1e-6)
    half = 2 * math.tan(math.radians(49.1) / 2)  # what fits between the middle and the edge
    np.testing.assert_allclose(pixel(front, (0, 0, 0)), [8, 8], atol=1e-4)
    np.testing.assert_allclose(pixel(front, (half, 0, 0)), [16, 8], atol=1e-4)
    np.testing.assert_allclose(pixel(front, (0, half, 0)), [8, 0], atol=1e-4)


def test_anchors_are_frames_of_their_moment_with_their_own_cameras(folder):
    scene = read("rgba_video", folder)
    anchors = [f for f in scene.train if f.image_path.parent.name == "2_rgba"]
    assert len(anchors) == 6
    assert {(f.index, f.time, f.camera.width) for f in anchors} == {(1, 0.5, 8)}
    # From above and 30 degrees to the right of the front; from the right side and below.
    np.testing.assert_allclose(
        anchors[0].camera.center.numpy(), [math.sqrt(0.75), 1.0, 1.5], atol=1e-6
    )
    side = [2 * math.cos(math.radians(20)), -2 * math.sin(math.radians(20)), 0]
    np.testing.assert_allclose(anchors[1].camera.center.numpy(), side, atol=1e-6)
    for frame in anchors:
        np.testing.assert_allclose(pixel(frame.camera, (0, 0, 0)), [4, 4], atol=1e-4)
        assert pixel(frame.camera, (0, 0.1, 0))[1] < 4


def test_an_alpha_of_one_level_is_empty(folder):
    pixels = np.full((16, 16, 4), 128, np.uint8)
    pixels[..., 3] = 1
    pixels[4:8, 4:8, 3] = 255
    cv2.imwrite(str(folder / "ref" / "0_rgba.png"), pixels)
    image = decode(read("rgba_video", folder))[0].image
    assert (image[:, 0] == 1).all()


def test_bare_numbered_pictures_are_a_video_without_anchors(tmp_path):
    for k in range(12):
        write_picture(tmp_path / f"{k}.png", 8, 8, channels=4)
    scene = read("auto", tmp_path, hold_out=2)
    assert [f.image_path.stem for f in scene.train] == [str(k) for k in range(10)]
    assert [f.index for f in scene.test] == [10, 11]


def test_held_out_moments_take_their_anchors_along(folder):
    scene = read("rgba_video", folder, hold_out=1)
    assert ({f.index for f in scene.train}, {f.index for f in scene.test}) == ({0, 1}, {2})
    assert len(scene.test) == 7


def test_the_rig_may_be_another(folder):
    scene = read("rgba_video", folder, radius=3.0, fovy=60.0, elevation=20.0, size=2)
    front = scene.train[0].camera
    assert {f.index for f in scene.train} == {0, 1}
    place = [0, -3 * math.sin(math.radians(20)), 3 * math.cos(math.radians(20))]
    np.testing.assert_allclose(front.center.numpy(), place, atol=1e-5)  # positive: from below
    assert math.degrees(front.fov_y) == pytest.approx(60, abs=1e-3)
    side = scene.train[3].camera.center.numpy()  # of anchors, elevations are absolute
    assert side[1] == pytest.approx(3 * math.sin(math.radians(-20)), abs=1e-5)


def test_held_out_sides_test_and_are_not_trained_on(folder):
    scene = read("rgba_video", folder, held_out_anchors=[1, 4])
    assert len(scene.train) == 3 * 5
    assert len(scene.test) == 3 * 2
    assert {f.image_path.name for f in scene.test} == {"1.png", "4.png"}
    every = read("rgba_video", folder, held_out_anchors=[1], eval=False)
    assert (len(every.train), len(every.test)) == (21, 3)
    with pytest.raises(InputError, match="names view 6; there are 6 of a moment"):
        read("rgba_video", folder, held_out_anchors=[6])


ABOVE = [[1, 0, 0, 0], [0, 0, 1, 2], [0, -1, 0, 0], [0, 0, 0, 1]]
VIEWS = [
    {"file_path": "0.png", "azimuth": 45, "elevation": -10, "radius": 2.5, "fovy": 33.9},
    {"file_path": "3.png", "transform_matrix": ABOVE},
]


def listed(folder, views):
    (folder / "zero123/cameras.json").write_text(json.dumps({"frames": views}))


def test_a_file_of_cameras_says_where_other_views_stand(folder):
    listed(folder, VIEWS)
    scene = read("rgba_video", folder)
    anchors = [f for f in scene.train if f.role == "anchor"]
    assert [f.image_path.name for f in anchors] == ["0.png", "3.png"] * 3
    one, other = anchors[0].camera, anchors[1].camera
    assert math.degrees(one.fov_y) == pytest.approx(33.9, abs=1e-3)
    e, a = math.radians(-10), math.radians(45)
    place = 2.5 * np.array([math.cos(e) * math.sin(a), math.sin(e), math.cos(e) * math.cos(a)])
    np.testing.assert_allclose(one.center.numpy(), place, atol=1e-5)
    np.testing.assert_allclose(other.center.numpy(), [0, 2, 0], atol=1e-6)  # looks down
    np.testing.assert_allclose(pixel(other, (0, 0, 0)), [4, 4], atol=1e-4)
    assert math.degrees(other.fov_y) == pytest.approx(49.1, abs=1e-3)


BAD_VIEWS = {
    "a picture that is not there": ([VIEWS[0] | {"file_path": "9.png"}], "9.png: no such file"),
    "no name": ([{"azimuth": 3, "elevation": 0}], "'file_path' is None"),
    "no place": ([{"file_path": "0.png"}], "'azimuth' is None"),
    "a place above": ([VIEWS[0] | {"elevation": 90}], "elevation 90"),
    "no lens": ([VIEWS[0] | {"fovy": 0}], "'fovy' is 0"),
    "no views": ([], "lists no frames"),
}


@pytest.mark.parametrize("name", BAD_VIEWS)
def test_a_broken_file_of_cameras_is_one_clear_error(folder, name):
    views, message = BAD_VIEWS[name]
    listed(folder, views)
    with pytest.raises(InputError, match=message) as caught:
        read("rgba_video", folder)
    assert "cameras.json" in str(caught.value)


def test_generated_views_beside_numbered_pictures_are_recognised(tmp_path):
    for k in range(3):
        write_picture(tmp_path / f"{k}.png", 8, 8, channels=4)
        for view in range(6):
            write_picture(tmp_path / "zero123" / str(k) / f"{view}.png", 8, 8, channels=4)
    scene = read("auto", tmp_path)
    assert [f.role for f in scene.train].count("anchor") == 18


BROKEN = {
    "an anchor missing": (
        lambda d: (d / "zero123" / "2_rgba" / "3.png").unlink(),
        "zero123/2_rgba.*5 pictures",
    ),
    "a moment's anchors missing": (
        lambda d: (d / "zero123" / "2_rgba").rename(d / "zero123" / "x"),
        "zero123/2_rgba.*0 pictures",
    ),
    "a picture of another size": (
        lambda d: write_picture(d / "ref" / "2_rgba.png", 8, 8, 4),
        "2_rgba.png.*8x8",
    ),
    "an anchor of another size": (
        lambda d: write_picture(d / "zero123" / "2_rgba" / "3.png", 9, 9, 4),
        "3.png.*9x9",
    ),
    "no pictures": (lambda d: [p.unlink() for p in (d / "ref").iterdir()], "ref.*no PNG"),
    "a cut picture": (lambda d: cut(d / "ref" / "2_rgba.png"), "2_rgba.png"),
    "a frame twice": (
        lambda d: write_picture(d / "ref" / "2.png", 16, 16, 4),
        "'2' is there twice",
    ),
    "all held out": (lambda d: None, "hold_out=3 holds out 3 of 3"),
}


def cut(file):
    file.write_bytes(file.read_bytes()[:-30])


@pytest.mark.parametrize("name", BROKEN)
def test_broken_input_is_one_clear_error(folder, name):
    breaks, message = BROKEN[name]
    breaks(folder)
    with pytest.raises(InputError, match=message):
        decode(read("rgba_video", folder, hold_out=3 * (name == "all held out")))


def test_a_point_inside_the_real_subject_is_inside_all_its_silhouettes(data_folder):
    scene = read("rgba_video", data_folder / "rgba_video" / "minions")
    assert len(scene.train) == 32 * 7
    for frame in [f for f in scene.train if f.index % 8 == 0]:
        alpha = read_image(frame.image_path)[..., 3]
        rows, columns = np.nonzero(alpha > 1)
        for height in (-0.2, 0.0, 0.2):
            column, row = pixel(frame.camera, (0, height, 0)).astype(int)
            assert alpha[row, column] > 1
        top = pixel(frame.camera, (0, 0.45, 0))[1] / frame.camera.height
        assert abs(rows.min() / frame.camera.height - top) < 0.25
        assert abs(columns.mean() / frame.camera.width - 0.5) < 0.12
