"""One clip of a head in three layouts. Landmarks that a detector saw in every fourth frame stand in
one of them; they are the truth of all three, since no camera had a part in finding them."""

import json

import numpy as np
import pytest

from scene.regions import rectangle
from tests.scene.datasets.reading import pixel, read

pytestmark = pytest.mark.long

FAMILIES = {  # folder, frames of it per frame with landmarks
    "nerfblendshape": ("nerfblendshape/obama", 4),
    "nerface": ("nerface/obama", 2),
    "imavatar": ("imavatar/obama256", 1),
}
RIGID = (36, 39, 42, 45)  # corners of the eyes
LIPS = slice(48, 68)
PUPILS = {68: (-0.126, 0.12, 0.168), 69: (0.126, 0.12, 0.168)}  # in the world of the third layout


@pytest.fixture(scope="module")
def landmarks(data_folder):
    """(M, 70, 2) in parts of the picture."""
    files = [
        data_folder / "imavatar/obama256/obama256" / s / "flame_params.json"
        for s in ("train", "test")
    ]
    rows = [f["flame_keypoints"] for file in files for f in json.loads(file.read_text())["frames"]]
    return (np.array(rows) + 1) / 2


@pytest.fixture(scope="module", params=FAMILIES)
def seen(request, data_folder, landmarks):
    """The scene, its frames that have landmarks, and these in pixels."""
    folder, stride = FAMILIES[request.param]
    scene = read(request.param, data_folder / folder)
    frames = sorted([*scene.train, *scene.val, *scene.test], key=lambda f: f.index)[::stride]
    return scene, frames, landmarks[: len(frames)] * frames[0].camera.width


def triangulate(cameras, pixels):
    """The point that the cameras see nearest to the pixels (linear, Hartley and Zisserman 12.2)."""
    rows = []
    for camera, (u, v) in zip(cameras, pixels, strict=True):
        P = (camera.K @ camera.viewmat[:3]).double().numpy()
        rows += [(u * P[2] - P[0]) / camera.width, (v * P[2] - P[1]) / camera.width]
    rows = np.array(rows)
    return np.linalg.lstsq(rows[:, :3], -rows[:, 3], rcond=None)[0]


def test_points_found_in_half_of_the_frames_are_where_the_others_see_them(seen):
    _, frames, marks = seen
    misses = []
    for mark in RIGID:
        point = triangulate([f.camera for f in frames[::2]], marks[::2, mark])
        misses += [
            np.linalg.norm(pixel(f.camera, point) - xy)
            for f, xy in zip(frames[1::2], marks[1::2, mark], strict=True)
        ]
    assert np.median(misses) < 1  # pixel
    assert np.quantile(misses, 0.95) < 4


def test_lips_are_in_the_mouth_s_box(seen):
    scene, frames, marks = seen
    for frame, lips in zip(frames[::9], marks[::9, LIPS], strict=True):
        left, top, right, bottom = rectangle(scene.regions["mouth"], frame)
        assert (lips > (left, top)).all()
        assert (lips < (right, bottom)).all()


def test_pupils_are_where_the_folder_says(data_folder, landmarks):
    scene = read("imavatar", data_folder / "imavatar/obama256")
    frames = [*scene.train, *scene.test]
    for mark, xyz in PUPILS.items():
        misses = [
            np.linalg.norm(pixel(f.camera, xyz) - 256 * xy)
            for f, xy in zip(frames, landmarks[:, mark], strict=True)
        ]
        assert np.median(misses) < 1


def test_all_layouts_show_the_same_view(data_folder):
    scenes = {name: read(name, data_folder / folder) for name, (folder, _) in FAMILIES.items()}
    every = {
        name: sorted([*s.train, *s.val, *s.test], key=lambda f: f.index)[:: FAMILIES[name][1]]
        for name, s in scenes.items()
    }
    for a, b, c in list(zip(*every.values(), strict=False))[::20]:
        np.testing.assert_allclose(a.camera.viewmat[:3, :3], b.camera.viewmat[:3, :3], atol=1e-5)
        np.testing.assert_allclose(a.camera.viewmat[:3, :3], c.camera.viewmat[:3, :3], atol=1e-5)
        u, v = pixel(a.camera, (0, 0, 0)) / 450, pixel(b.camera, (0, 0, 0)) / 256
        np.testing.assert_allclose(u, v, atol=1e-5)


def test_the_head_s_box_of_the_file_holds_the_mouth(data_folder):
    folder = data_folder / "nerface" / "obama"
    scene = read("nerface", folder)
    content = json.loads((folder / "transforms_train.json").read_text())
    for frame, row in list(zip(scene.train, content["frames"], strict=True))[::10]:
        top, bottom, left, right = 256 * np.array(row["bbox"])
        mouth = np.array(rectangle(scene.regions["mouth"], frame)).reshape(2, 2).mean(0)
        assert ((left, top) < mouth).all()
        assert (mouth < (right, bottom)).all()
