import shutil

import numpy as np
import pytest
import torch

from arguments import parse_train_args
from scene.methods import require_needs
from tests.scene.datasets.reading import decode, edit, pixel, read
from tests.scene.datasets.tiny_folders import (
    CX,
    CY,
    FOCAL,
    GL,
    HEIGHT,
    POINTS,
    RIG,
    WIDTH,
    coefficients,
    imavatar,
    project,
    write_picture,
)
from utils.errors import InputError


@pytest.fixture
def folder(tmp_path):
    imavatar(tmp_path / "person")
    return tmp_path / "person"


@pytest.fixture
def train(folder):
    return folder / "person" / "train"


@pytest.mark.parametrize("resolution", [1, 2])
def test_known_points_land_on_known_pixels(folder, resolution):
    scene = read("imavatar", folder, resolution=resolution)
    for frame, w2c in zip(scene.train, RIG, strict=True):
        for xyz in POINTS:
            expected = project(w2c, xyz) / resolution
            np.testing.assert_allclose(pixel(frame.camera, xyz), expected, atol=2e-3)


def test_the_format_s_own_equation_gives_the_same_pixels_whatever_the_sign(folder, train):
    # u = W (fx X / Z + cx), v = H (fy Y / Z + cy) with (X, Y, Z) = world_mat p and fx as written.
    def turn(content):
        content["intrinsics"][0] *= -1
        for frame in content["frames"]:
            frame["world_mat"][0] = [-x for x in frame["world_mat"][0]]

    before = read("imavatar", folder).train[1].camera
    edit(train / "flame_params.json", turn)
    after = read("imavatar", folder).train[1].camera
    matrix = (GL @ RIG[1])[:3]
    for xyz in POINTS:
        x, y, z = matrix @ [*xyz, 1]
        expected = (WIDTH * (-FOCAL / WIDTH * x / z + 0.5), HEIGHT * (FOCAL / HEIGHT * y / z + 0.5))
        np.testing.assert_allclose(pixel(before, xyz), expected, atol=2e-3)
        np.testing.assert_allclose(pixel(after, xyz), expected, atol=2e-3)


def test_older_files_give_pixels(folder, train):
    before = read("imavatar", folder).train[0].camera.K
    edit(train / "flame_params.json", lambda c: c.update(intrinsics=[-FOCAL, FOCAL, CX, CY]))
    np.testing.assert_allclose(read("imavatar", folder).train[0].camera.K, before, rtol=1e-6)


def test_flame_s_numbers_are_carried_as_they_are(folder):
    scene = read("imavatar", folder)
    np.testing.assert_allclose(scene.train[2].expression, coefficients(3, 6), atol=1e-6)
    assert scene.train[2].flame_pose[6] == pytest.approx(0.15)
    assert scene.subject.scale == 4
    np.testing.assert_allclose(scene.subject.shape, coefficients(0, 8), atol=1e-6)


def test_the_clock_runs_through_the_videos_and_test_is_last(folder):
    scene = read("imavatar", folder)
    frames = [*scene.train, *scene.test]
    assert [f.index for f in frames] == [0, 1, 2, 3, 4]
    np.testing.assert_allclose([f.time for f in frames], np.arange(5) / 4)
    assert len(read("imavatar", folder, eval=False).train) == 5


def test_the_folder_may_be_named_once_or_twice_or_be_one_video(folder, train):
    counts = [(3, 2), (3, 2), (2, 1)]
    for place, count in zip((folder, folder / "person", train), counts, strict=True):
        scene = read("imavatar", place)
        assert (len(scene.train), len(scene.test)) == count


def test_the_user_says_which_videos_test(folder):
    assert len(read("imavatar", folder, test_videos=["train"]).test) == 3
    with pytest.raises(InputError, match="'MVI_1'; its videos are test, train"):
        read("imavatar", folder, test_videos=["MVI_1"])
    with pytest.raises(InputError, match="all its videos are held out"):
        read("imavatar", folder, test_videos=["test", "train"])


def test_the_folder_of_pictures_may_be_called_images(train):
    (train / "image").rename(train / "images")
    assert read("imavatar", train).train[0].image_path == train / "images" / "1.png"


def test_head_is_what_the_labels_say_and_person_the_matte(folder):
    head = decode(read("imavatar", folder, part="head"))[0].alpha[0, 0]
    np.testing.assert_array_equal(head, np.repeat([0, 1, 0, 1], WIDTH // 4))
    assert 0.3 < decode(read("imavatar", folder))[0].alpha.mean() < 0.7
    assert decode(read("imavatar", folder, part="all"))[0].alpha.min() == 1


def change(**values):
    return lambda d: edit(d / "flame_params.json", lambda c: c.update(**values))


def change_frame(**values):
    return lambda d: edit(d / "flame_params.json", lambda c: c["frames"][1].update(**values))


@pytest.mark.parametrize("in_pixels", [False, True])
def test_coefficients_alone_are_enough_to_drive_and_not_to_train(folder, train, in_pixels):
    if in_pixels:
        change(intrinsics=[-1000, 1000, 320, 240])(train)
    else:
        before = read("imavatar", folder).train
    for name in ("image", "mask"):
        shutil.rmtree(train / name)
    scene = read("imavatar", folder, only_json=True, part="person")
    for k, frame in enumerate(scene.train):
        assert (frame.image_path, frame.mask) == (None, None)
        if not in_pixels:
            for name in ("expression", "flame_pose"):
                assert torch.equal(getattr(frame, name), getattr(before[k], name))
            assert torch.equal(frame.camera.viewmat, before[k].camera.viewmat)
    with pytest.raises(InputError, match="without pictures, which training needs"):
        require_needs(scene, parse_train_args(["-s", str(folder)]))


BROKEN = {
    "no shape": (lambda d: edit(d / "flame_params.json", lambda c: c.pop("shape_params")), "shape"),
    "pixels of another size": (change(intrinsics=[-20, 20, 15, 6]), "another size"),
    "pose of 12": (change_frame(pose=[0] * 12), "frame 1.*pose.*15"),
    "no pose at all": (change_frame(world_mat=None), "frame 1.*world_mat"),
    "a shear": (change_frame(world_mat=[[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]), "right angles"),
    "a mirror": (change_frame(world_mat=[[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]), "mirrors"),
    "NaN": (change_frame(expression=[float("nan")] * 6), "frame 1.*NaN"),
    "another length": (change_frame(expression=[0.5] * 7), r"1\.png.*|2\.png.*7 expression"),
    "no matte": (lambda d: (d / "mask" / "2.png").unlink(), "mask/2.png"),
    "no mattes": (lambda d: (d / "mask").rename(d / "matte"), "mask: no such folder"),
    "mask of another size": (lambda d: write_picture(d / "mask/2.png", 8, 8, 1), "2.png.*8x8"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_input_is_one_clear_error(folder, train, name):
    breaks, message = BROKEN[name]
    breaks(train)
    with pytest.raises(InputError, match=message):
        decode(read("imavatar", folder))
