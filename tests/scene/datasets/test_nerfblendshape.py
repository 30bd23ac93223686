import cv2
import numpy as np
import pytest

from tests.scene.datasets.reading import decode, edit, pixel, read
from tests.scene.datasets.tiny_folders import (
    FOCAL,
    POINTS,
    RIG,
    WIDTH,
    coefficients,
    nerfblendshape,
    project,
    write_colors,
    write_picture,
)
from utils.errors import InputError


@pytest.fixture
def folder(tmp_path):
    nerfblendshape(tmp_path)
    return tmp_path


def everything(scene):
    return sorted([*scene.train, *scene.test], key=lambda frame: frame.index)


@pytest.mark.parametrize("resolution", [-1, 2])
def test_known_points_land_on_known_pixels(folder, resolution):
    scene = read("nerfblendshape", folder, resolution=resolution)
    for frame, w2c in zip(everything(scene), RIG, strict=True):
        for xyz in POINTS:
            expected = project(w2c, xyz) / max(resolution, 1)
            np.testing.assert_allclose(pixel(frame.camera, xyz), expected, atol=2e-3)


def test_principal_point_and_both_focal_lengths_are_kept(folder):
    edit(folder / "transforms.json", lambda c: c.update(fy=2 * FOCAL, cx=3.0, cy=10.0))
    x, y = pixel(everything(read("nerfblendshape", folder))[1].camera, POINTS[0])
    u, v = project(RIG[1], POINTS[0], center=(0, 0))
    np.testing.assert_allclose((x, y), (u + 3, 2 * v + 10), atol=2e-3)


def test_expressions_and_times_follow_the_numbers_of_the_pictures(folder):
    edit(folder / "transforms.json", lambda c: c["frames"].reverse())
    frames = everything(read("nerfblendshape", folder))
    assert [f.image_path.stem for f in frames] == ["0", "1", "2"]
    assert [f.time for f in frames] == [0, 0.5, 1]
    for k, frame in enumerate(frames):
        np.testing.assert_allclose(frame.expression, coefficients(k, 5), atol=1e-6)


def test_masks_counted_from_one_belong_to_the_picture_before(folder):
    names = [f.mask.path.name for f in everything(read("nerfblendshape", folder))]
    assert names == ["1.png", "2.png", "3.png"]


def test_masks_named_as_their_pictures_are_taken_so(folder):
    for k in range(3):
        (folder / "mask" / f"{k + 1}.png").rename(folder / "mask" / f"{k}.png")
    names = [f.mask.path.name for f in everything(read("nerfblendshape", folder))]
    assert names == ["0.png", "1.png", "2.png"]


def covered(folder, part):
    return decode(read("nerfblendshape", folder, part=part))[0].alpha.mean(dim=(0, 1))


def test_head_and_person_are_told_by_the_colours_of_the_parsing(folder):
    for mask in (folder / "mask").iterdir():
        mask.unlink()
    (folder / "mask").rmdir()
    stripes = np.repeat([1, 0, 0, 0], WIDTH // 4)  # head, neck, torso, background
    np.testing.assert_array_equal(covered(folder, "head"), stripes)
    np.testing.assert_array_equal(covered(folder, "person"), np.repeat([1, 1, 1, 0], WIDTH // 4))
    np.testing.assert_array_equal(covered(folder, "all"), np.ones(WIDTH))


def test_a_parsing_of_labels_is_understood_too(folder):
    for k in range(3):
        labels = [(0, 0, 0), (10, 10, 10), (17, 17, 17), (16, 16, 16)]
        write_colors(folder / "parsing" / f"{k}.png", labels)
    np.testing.assert_array_equal(covered(folder, "head"), np.repeat([0, 1, 1, 0], WIDTH // 4))


def test_the_plate_stands_behind_the_whole_picture(folder):
    loaded = decode(read("nerfblendshape", folder, part="all", plate=True))[0]
    plate = cv2.imread(str(folder / "bc.jpg"))[..., ::-1].transpose(2, 0, 1) / 255
    np.testing.assert_allclose(loaded.background, plate, atol=1e-6)


@pytest.mark.long
def test_the_last_500_test_where_there_are_more(folder):
    def repeat(content):
        one = content["frames"][0]
        content["frames"] = [{**one, "img_id": k} for k in range(503)]

    for k in range(3, 503):
        (folder / "ori_imgs" / f"{k}.jpg").symlink_to(folder / "ori_imgs" / "0.jpg")
    edit(folder / "transforms.json", repeat)
    scene = read("nerfblendshape", folder, part="all")
    assert ([f.index for f in scene.train], len(scene.test)) == ([0, 1, 2], 500)
    scene = read("nerfblendshape", folder, part="all", hold_out=3)
    assert ([f.index for f in scene.test], len(scene.train)) == ([500, 501, 502], 500)


def change(**values):
    return lambda d: edit(d / "transforms.json", lambda c: c.update(**values))


def change_frame(**values):
    return lambda d: edit(d / "transforms.json", lambda c: c["frames"][1].update(**values))


def drop(key):
    return lambda d: edit(d / "transforms.json", lambda c: c["frames"][1].pop(key))


BROKEN = {
    "no file": (lambda d: (d / "transforms.json").unlink(), "transforms.json"),
    "no expression": (drop("exp_ori"), "transforms.json.*img_id 1.*exp_ori"),
    "no pose": (drop("transform_matrix"), "transforms.json.*img_id 1.*transform_matrix"),
    "another length": (change_frame(exp_ori=[1, 2]), "1.jpg.*2 expression.*5"),
    "a huge coefficient": (change_frame(exp_ori=[1e30] * 5), "exp_ori.*beyond"),
    "the same number twice": (change_frame(img_id=0), "img_id 0 is there twice"),
    "half a number": (change_frame(img_id=0.5), "img_id.*0.5"),
    "picture of another size": (
        lambda d: write_picture(d / "ori_imgs/1.jpg", 8, 8),
        "1.jpg.*16x12",
    ),
    "no picture": (lambda d: (d / "ori_imgs/1.jpg").unlink(), "1.jpg"),
    "size in letters": (change(w="wide"), "transforms.json.*'w'"),
    "focal length zero": (change(fx=0), "img_id 0.*focal"),
    "mask missing": (lambda d: (d / "mask/2.png").unlink(), "mask/2.png"),
    "masks of other frames": (lambda d: (d / "mask/1.png").unlink(), "mask.*first mask is 2"),
    "mask of another size": (lambda d: write_picture(d / "mask/2.png", 8, 8, 1), "2.png.*8x8"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_input_is_one_clear_error(folder, name):
    breaks, message = BROKEN[name]
    breaks(folder)
    with pytest.raises(InputError, match=message):
        decode(read("nerfblendshape", folder))


def test_what_a_setting_needs_and_the_folder_lacks_is_named(folder):
    (folder / "bc.jpg").unlink()
    with pytest.raises(InputError, match=r"bc\.jpg: not found"):
        read("nerfblendshape", folder, part="all", plate=True)
    with pytest.raises(InputError, match="plate needs part='all'"):
        read("nerfblendshape", folder, plate=True)
    (folder / "parsing").rename(folder / "other")
    with pytest.raises(InputError, match="parsing: no such folder"):
        read("nerfblendshape", folder, part="head")
