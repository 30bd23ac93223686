"""What the doctor and training say of scenes that can be read and hardly mean what they say."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from scene.datasets._doubts import doubts
from scripts.data_doctor.checks import problems
from tests.scene.datasets.reading import edit, read
from tests.scene.datasets.tiny_folders import POINTS, TINY, write_picture, write_ply
from utils.errors import InputError
from utils.images import read_image


@pytest.fixture
def folder(tmp_path):
    def make(name):
        (tmp_path / "scene").mkdir()
        TINY[name](tmp_path / "scene")
        return tmp_path / "scene"

    return make


def said(name, folder, words):
    """One doubt, in these words, and the doctor has it, too."""
    scene = read(name, folder)
    (found,) = doubts(scene)
    assert words in found
    assert found in [problem.text for problem in problems(scene)]


@pytest.mark.parametrize("name", TINY)
def test_nothing_is_doubtful_about_a_sound_folder(name, folder):
    assert doubts(read(name, folder(name))) == []


def test_times_that_hardly_vary(folder):
    place = folder("dnerf")
    for split in ("train", "test"):
        edit(
            place / f"transforms_{split}.json",
            lambda c: [f.update(time=0.99 + 0.001 * f["time"]) for f in c["frames"]],
        )
    said("dnerf", place, "all training times are between 0.99 and 0.991")


def test_a_principal_point_of_another_size(folder):
    place = folder("dnerf")
    lens = {"fl_x": 40, "cx": 16, "cy": 12}  # of 32x24, the pictures are 16x12
    for split in ("train", "test"):
        edit(place / f"transforms_{split}.json", lambda c: c.update(lens))
    said("dnerf", place, "the principal point 16 12 is outside the middle half of 16x12 pixels")


@pytest.mark.parametrize(("inverted", "count"), [(True, 1), (False, 0)])
def test_masks_of_the_background(folder, inverted, count):
    place = folder("imavatar")
    for path in place.rglob("mask/*.png"):
        matte = np.zeros((12, 16), np.uint8)
        matte[2:, 3:13] = 255  # a head and shoulders
        cv2.imwrite(str(path), 255 - matte if inverted else matte)
    found = [doubt for doubt in doubts(read("imavatar", place)) if "masks" in doubt]
    assert len(found) == count


def test_cameras_far_beyond_their_points(folder):
    place = folder("colmap")
    (place / "sparse" / "0" / "points3D.bin").unlink()
    write_ply(place / "sparse" / "0" / "points3D.ply", POINTS / 1000)
    said("colmap", place, "they see a dot")


def test_pictures_of_mixed_shape(folder):
    place = folder("dnerf")
    write_picture(place / "train" / "r_1.png", 12, 16, channels=4)
    said("dnerf", place, "different shapes (12x16, 16x12)")


def test_a_jpeg_whose_data_are_damaged_is_named_where_it_is_read(folder):
    place = folder("nerfblendshape")
    smooth = cv2.resize(np.random.default_rng(0).integers(0, 255, (3, 4, 3), np.uint8), (16, 12))
    file = place / "ori_imgs" / "1.jpg"
    cv2.imwrite(str(file), smooth)
    data = bytearray(file.read_bytes())
    start = data.rfind(b"\xff\xda") + 20
    data[start:-2] = bytes(7 * k % 200 for k in range(len(data) - 2 - start))
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"1\.jpg: .*damaged"):
        read_image(file)


def test_without_a_picture_nothing_is_decoded(folder):
    scene = read("dnerf", folder("dnerf"))
    bare = [replace(frame, image_path=None) for frame in scene.train]
    assert doubts(replace(scene, train=bare, test=[])) == []
