import numpy as np
import pytest

from tests.scene.datasets.reading import decode, edit, pixel, read
from tests.scene.datasets.tiny_folders import (
    CX,
    CY,
    FOCAL,
    POINTS,
    RIG,
    flame_numbers,
    gaussianavatars,
    project,
    write_picture,
)
from utils.errors import InputError

CAMERAS = {"train": (0, 0), "test": (0, 1), "val": (1, 1)}
MOMENTS = {"train": [0, 1], "test": [2, 2], "val": [0, 1]}


@pytest.fixture
def folder(tmp_path):
    gaussianavatars(tmp_path)
    return tmp_path


@pytest.mark.parametrize("resolution", [1, 2])
def test_known_points_land_on_known_pixels(folder, resolution):
    scene = read("gaussianavatars", folder, resolution=resolution)
    for split, cameras in CAMERAS.items():
        for frame, camera in zip(scene.split(split), cameras, strict=True):
            for xyz in POINTS:
                expected = project(RIG[camera], xyz) / resolution
                np.testing.assert_allclose(pixel(frame.camera, xyz), expected, atol=2e-3)


def test_views_of_one_moment_share_its_row_and_its_numbers(folder):
    scene = read("gaussianavatars", folder)
    for split, moments in MOMENTS.items():
        assert [f.index for f in scene.split(split)] == moments
        assert [f.time for f in scene.split(split)] == [k / 2 for k in moments]
    for frame in [*scene.train, *scene.test, *scene.val]:
        numbers = flame_numbers(frame.index)
        np.testing.assert_array_equal(frame.expression, numbers["expr"][0])
        parts = [numbers[n][0] for n in ("rotation", "neck_pose", "jaw_pose", "eyes_pose")]
        np.testing.assert_array_equal(frame.flame_pose, np.concatenate(parts))
    np.testing.assert_array_equal(scene.subject.shape, np.full(8, 0.5))
    assert scene.subject.scale == 1


def test_a_matrix_of_intrinsics_per_frame_will_do(folder):
    def change(content):
        for frame in content["frames"]:
            for key in ("fl_x", "fl_y", "cx", "cy"):
                del frame[key]
            frame["intrinsics"] = [[FOCAL, 0, CX], [0, FOCAL, CY], [0, 0, 1]]

    before = read("gaussianavatars", folder).train[0].camera.K
    edit(folder / "transforms_train.json", change)
    np.testing.assert_array_equal(read("gaussianavatars", folder).train[0].camera.K, before)


def test_the_person_is_the_mask_where_there_is_one(folder):
    assert 0.3 < decode(read("gaussianavatars", folder))[0].alpha.mean() < 0.7
    assert decode(read("gaussianavatars", folder, part="all"))[0].alpha.min() == 1


def numbers(**values):
    def breaks(folder):
        arrays = {**flame_numbers(1), **values}
        kept = {name: value for name, value in arrays.items() if value is not None}
        np.savez(folder / "flame_param" / "00001.npz", **kept)

    return breaks


def train(change):
    return lambda d: edit(d / "transforms_train.json", lambda c: change(c["frames"][1]))


BROKEN = {
    "no test file": (lambda d: (d / "transforms_test.json").unlink(), "transforms_test.json"),
    "no numbers": (lambda d: (d / "flame_param/00001.npz").unlink(), "00001.npz"),
    "cut": (lambda d: (d / "flame_param/00001.npz").write_bytes(b"PK\3\4junk"), "00001.npz"),
    "no jaw": (numbers(jaw_pose=None), "00001.npz.*jaw_pose"),
    "two rows": (numbers(expr=np.zeros((2, 5))), r"00001.npz.*expr.*\(2, 5\)"),
    "NaN": (numbers(translation=np.full((1, 3), np.nan)), "translation.*NaN"),
    "huge": (numbers(rotation=np.full((1, 3), 1e30)), "rotation.*beyond"),
    "another length": (numbers(expr=np.zeros((1, 4))), "4 expression"),
    "no path": (train(lambda f: f.pop("flame_param_path")), "frame 1.*flame_param_path"),
    "no lens": (train(lambda f: f.pop("fl_x")), "frame 1.*camera_angle_x"),
    "mask of another size": (lambda d: write_picture(d / "fg_masks/00001_00.png", 8, 8, 1), "8x8"),
    "no mask": (lambda d: (d / "fg_masks/00001_00.png").unlink(), "fg_masks/00001_00.png"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_input_is_one_clear_error(folder, name):
    breaks, message = BROKEN[name]
    breaks(folder)
    with pytest.raises(InputError, match=message):
        decode(read("gaussianavatars", folder))
