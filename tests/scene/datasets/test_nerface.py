import numpy as np
import pytest

from tests.scene.datasets.reading import decode, edit, pixel, read
from tests.scene.datasets.tiny_folders import (
    FOCAL,
    GL,
    HEIGHT,
    MIRROR,
    POINTS,
    RIG,
    WIDTH,
    nerface,
    project,
    write_picture,
)
from utils.errors import InputError

SPLITS = ("train", "val", "test")


@pytest.fixture
def folder(tmp_path):
    nerface(tmp_path)
    return tmp_path


def edit_all(folder, change):
    for split in SPLITS:
        edit(folder / f"transforms_{split}.json", change)


def check_pixels(scene, resolution=1):
    for frame, w2c in zip(scene.train, RIG, strict=True):
        for xyz in POINTS:
            expected = project(w2c, xyz) / resolution
            np.testing.assert_allclose(pixel(frame.camera, xyz), expected, atol=2e-3)


@pytest.mark.parametrize("resolution", [1, 2])
def test_known_points_land_on_known_pixels(folder, resolution):
    check_pixels(read("nerface", folder, resolution=resolution), resolution=resolution)


def test_a_positive_focal_length_is_an_ordinary_opengl_camera(folder):
    def change(content):
        content["intrinsics"] = [FOCAL, FOCAL, 0.5, 0.5]
        for frame in content["frames"]:
            c2w = MIRROR @ np.array(frame["transform_matrix"]) @ MIRROR
            frame["transform_matrix"] = c2w.tolist()

    edit_all(folder, change)
    check_pixels(read("nerface", folder))


def test_axes_of_a_mirrored_camera_in_a_real_world_are_understood_too(folder):
    def change(content):
        for frame in content["frames"]:
            frame["transform_matrix"] = (MIRROR @ np.array(frame["transform_matrix"])).tolist()

    edit_all(folder, change)
    check_pixels(read("nerface", folder))


def test_the_file_s_own_ray_equation_gives_the_same_pixels(folder):
    # NeRFace: the ray of pixel (i, j) has the direction ((i - cx) / fx, -(j - cy) / fy, -1).
    c2w = MIRROR @ np.linalg.inv(RIG[1]) @ GL @ MIRROR
    camera = read("nerface", folder).train[1].camera
    for i, j in ((3.0, 4.0), (12.5, 2.0)):
        ray = np.array([(i - WIDTH / 2) / -FOCAL, -(j - HEIGHT / 2) / FOCAL, -1])
        point = c2w[:3, 3] + 3 * c2w[:3, :3] @ ray
        np.testing.assert_allclose(pixel(camera, MIRROR[:3, :3] @ point), (i, j), atol=2e-3)


def test_a_principal_point_in_parts_and_in_pixels_is_the_same(folder):
    edit_all(folder, lambda c: c.update(intrinsics=[-FOCAL, FOCAL, 0.625, 0.25]))
    parts = read("nerface", folder).train[0].camera.K
    edit_all(folder, lambda c: c.update(intrinsics=[-FOCAL, FOCAL, 10.0, 3.0]))
    np.testing.assert_array_equal(parts, read("nerface", folder).train[0].camera.K)
    np.testing.assert_array_equal(parts[:2, 2], (10, 3))


def test_without_intrinsics_the_angle_counts(folder):
    edit_all(folder, lambda c: c.pop("intrinsics"))
    K = read("nerface", folder).train[0].camera.K
    np.testing.assert_allclose(K.diagonal(), (FOCAL, FOCAL, 1), rtol=1e-6)


def test_the_clock_runs_through_train_val_and_test(folder):
    scene = read("nerface", folder)
    frames = [*scene.train, *scene.val, *scene.test]
    assert [f.index for f in frames] == list(range(6))
    np.testing.assert_allclose([f.time for f in frames], np.arange(6) / 5)
    assert len(read("nerface", folder, eval=False).train) == 5


def test_pictures_keep_their_background_unless_masks_were_added(folder):
    assert decode(read("nerface", folder))[0].alpha.min() == 1
    for split, count in zip(SPLITS, (3, 1, 2), strict=True):
        for k in range(count):
            write_picture(folder / split / "mask" / f"f_{k:04d}.png", channels=1)
    assert decode(read("nerface", folder))[0].alpha.min() < 0.5
    assert decode(read("nerface", folder, part="all"))[0].alpha.min() == 1


def test_the_plate_is_the_background(folder):
    loaded = decode(read("nerface", folder, part="all", plate=True))[0]
    assert loaded.background.shape == (3, HEIGHT, WIDTH)


def change(**values):
    return lambda d: edit(d / "transforms_train.json", lambda c: c.update(**values))


def change_frame(**values):
    return lambda d: edit(d / "transforms_train.json", lambda c: c["frames"][1].update(**values))


SINGULAR = np.zeros((4, 4)).tolist()
BROKEN = {
    "no test file": (lambda d: (d / "transforms_test.json").unlink(), "transforms_test.json: not"),
    "three intrinsics": (change(intrinsics=[1, 2, 3]), "intrinsics.*4"),
    "pixels of another size": (change(intrinsics=[-20, 20, 15, 6]), "another size"),
    "negative height": (change(intrinsics=[-20, -20, 0.5, 0.5]), "focal"),
    "no pose": (change_frame(transform_matrix=SINGULAR), "frame 1.*singular"),
    "one mirrored frame": (change_frame(transform_matrix=MIRROR.tolist()), "frame 1.*mirrors"),
    "expression in words": (change_frame(expression="smile"), "frame 1.*expression"),
    "the same picture twice": (change_frame(file_path="./train/f_0000"), "same picture"),
    "no picture": (lambda d: (d / "train/f_0001.png").unlink(), r"f_0001\.png"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_input_is_one_clear_error(folder, name):
    breaks, message = BROKEN[name]
    breaks(folder)
    with pytest.raises(InputError, match=message):
        decode(read("nerface", folder))
