import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.scene.datasets.reading import decode, edit, pixel, read
from tests.scene.datasets.tiny_folders import POINTS, RIG, coefficients, insta, project
from utils.errors import InputError


@pytest.fixture
def folder(tmp_path):
    insta(tmp_path)
    return tmp_path


def everything(scene):
    return sorted([*scene.train, *scene.test, *scene.val], key=lambda frame: frame.index)


@pytest.mark.parametrize("resolution", [1, 2])
def test_known_points_land_on_known_pixels(folder, resolution):
    frames = everything(read("insta", folder, resolution=resolution))
    for frame, w2c in zip(frames, RIG, strict=True):
        for xyz in POINTS:
            expected = project(w2c, xyz) / resolution
            np.testing.assert_allclose(pixel(frame.camera, xyz), expected, atol=2e-3)


def test_expressions_come_from_their_text_files(folder):
    for k, frame in enumerate(everything(read("insta", folder))):
        np.testing.assert_allclose(frame.expression, coefficients(k, 5), atol=1e-6)
        assert frame.flame_pose is None


def parameters(folder, name, rows):
    """A file of numbers per frame beside the expressions."""
    (folder / "flame" / name).mkdir()
    for k, row in enumerate(rows):
        text = "\n".join(f"{value:.8f}" for value in np.ravel(row))
        (folder / "flame" / name / f"{k:05d}.txt").write_text(text)


ANGLES = 0.3 * np.random.default_rng(7).normal(size=(3, 3, 3))  # frame, joint: jaw, left, right


def test_the_tracker_s_rotations_become_vectors(folder):
    rows = Rotation.from_rotvec(ANGLES.reshape(9, 3)).as_matrix()[:, :2].reshape(3, 3, 6)
    parameters(folder, "jaw", rows[:, 0])
    parameters(folder, "eyes", 1.5 * rows[:, 1:])  # a tracker leaves their length free
    for k, frame in enumerate(everything(read("insta", folder))):
        expected = np.concatenate([np.zeros(6), ANGLES[k].ravel()])
        np.testing.assert_allclose(frame.flame_pose, expected, atol=1e-6)


def test_rotation_vectors_are_taken_as_they_are_and_eyes_without_a_folder_rest(folder):
    parameters(folder, "jaw", ANGLES[:, 0])
    for k, frame in enumerate(everything(read("insta", folder))):
        expected = np.concatenate([np.zeros(6), ANGLES[k, 0], np.zeros(6)])
        np.testing.assert_allclose(frame.flame_pose, expected, atol=1e-6)


def test_the_identity_is_that_of_its_files(folder):
    assert len(read("insta", folder).subject.shape) == 0
    parameters(folder, "shape", [np.arange(4)] * 3)
    assert read("insta", folder).subject.shape.tolist() == [0, 1, 2, 3]


def test_the_pictures_alpha_is_the_person(folder):
    assert 0.3 < decode(read("insta", folder))[0].alpha.mean() < 0.7


def test_stated_splits_count_and_val_repeats_none_of_them(folder):
    content = json.loads((folder / "transforms.json").read_text())
    rows = {"train": [0, 2], "test": [1], "val": [1, 2]}
    for name, ids in rows.items():
        part = {**content, "frames": [content["frames"][k] for k in ids]}
        (folder / f"transforms_{name}.json").write_text(json.dumps(part))
    scene = read("insta", folder)
    assert ([f.index for f in scene.train], [f.index for f in scene.test]) == ([0, 2], [1])
    assert scene.val == []


def test_the_last_frames_test_where_no_split_is_stated(folder):
    assert [f.index for f in read("insta", folder).test] == [2]
    assert [f.index for f in read("insta", folder, hold_out=2).test] == [1, 2]


def jaw(*numbers):
    return lambda d: parameters(d, "jaw", [numbers] * 3)


def some_jaws(d):
    parameters(d, "jaw", ANGLES[:, 0])
    (d / "flame" / "jaw" / "00001.txt").unlink()


def words(text):
    return lambda d: (d / "flame" / "exp" / "00001.txt").write_text(text)


BROKEN = {
    "no coefficients": (lambda d: (d / "flame" / "exp" / "00001.txt").unlink(), "00001.txt"),
    "words": (words("smile"), "00001.txt.*numbers"),
    "empty": (words(""), "00001.txt.*no numbers"),
    "NaN": (words("nan"), "00001.txt.*NaN"),
    "a file of pictures": (words("1 " * 99_999), "00001.txt: .* bytes, expected at most 100,000"),
    "huge": (words("1e30 " * 5), "00001.txt.*beyond"),
    "one too few": (words("1 2 3 4"), "00001.png.*4 expression"),
    "a jaw of four numbers": (jaw(1, 0, 0, 0), "jaw.00000.txt.*4 numbers; expected 1 x 6"),
    "a jaw of parallel rows": (jaw(1, 0, 0, 2, 0, 0), "jaw.00000.txt.*span no rotation"),
    "a jaw of nothing": (jaw(0, 0, 0, 0, 0, 0), "jaw.00000.txt.*span no rotation"),
    "a frame without its jaw": (some_jaws, "jaw.00001.txt"),
    "no picture": (lambda d: (d / "images" / "00001.png").unlink(), "00001.png"),
    "another size": (lambda d: edit(d / "transforms.json", lambda c: c.update(w=99)), "99x12"),
    "no frames": (lambda d: edit(d / "transforms.json", lambda c: c.pop("frames")), "frames"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_input_is_one_clear_error(folder, name):
    breaks, message = BROKEN[name]
    breaks(folder)
    with pytest.raises(InputError, match=message):
        decode(read("insta", folder))
