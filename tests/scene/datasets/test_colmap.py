import struct

import numpy as np
import pytest

from tests.scene.datasets.reading import decode, pixel, read
from tests.scene.datasets.tiny_folders import (
    CX,
    CY,
    FOCAL,
    HEIGHT,
    POINTS,
    RIG,
    WIDTH,
    colmap,
    colmap_binary,
    project,
    quat_of,
    write_picture,
    write_ply,
)
from utils.errors import InputError


@pytest.fixture
def folder(tmp_path):
    colmap(tmp_path)
    return tmp_path


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("resolution", [-1, 2])
def test_known_points_land_on_known_pixels(tmp_path, text, resolution):
    colmap(tmp_path, text=text)
    scene = read("colmap", tmp_path, resolution=resolution, llffhold=0)
    for frame, w2c in zip(scene.train, RIG, strict=True):
        for xyz in POINTS:
            expected = project(w2c, xyz) / max(resolution, 1)
            np.testing.assert_allclose(pixel(frame.camera, xyz), expected, atol=2e-3)
    np.testing.assert_allclose(scene.points.xyz.numpy(), POINTS, atol=1e-6)
    np.testing.assert_allclose(scene.points.rgb[0].numpy() * 255, [200, 100, 50], atol=1e-3)


def test_time_is_the_order_of_the_names_not_of_the_records(folder):
    scene = read("colmap", folder, llffhold=0)
    assert [f.image_path.stem for f in scene.train] == ["frame_9", "frame_10", "frame_11"]
    assert [(f.index, f.time) for f in scene.train] == [(0, 0.0), (1, 0.5), (2, 1.0)]


def test_a_frame_without_a_pose_leaves_a_gap_in_time(folder):
    write_picture(folder / "images" / "frame_12.png")
    assert [f.time for f in read("colmap", folder, llffhold=0).train] == pytest.approx(
        [0, 1 / 3, 2 / 3]
    )


def test_every_so_many_frames_test(folder):
    scene = read("colmap", folder, llffhold=2)
    assert ([f.index for f in scene.train], [f.index for f in scene.test]) == ([1], [0, 2])
    scene = read("colmap", folder, llffhold=2, eval=False)
    assert (len(scene.train), len(scene.test)) == (3, 2)


def test_smaller_copies_are_taken_where_they_are(folder):
    for name in ("frame_9", "frame_10", "frame_11"):
        write_picture(folder / "images_2" / f"{name}.png", 8, 6)
    for resolution, place, width in ((-1, "images", 16), (2, "images_2", 8), (4, "images", 4)):
        scene = read("colmap", folder, resolution=resolution, llffhold=0)
        frame = scene.train[1]
        assert (frame.image_path.parent.name, frame.camera.width) == (place, width)
        expected = project(RIG[1], POINTS[0]) * width / 16
        np.testing.assert_allclose(pixel(frame.camera, POINTS[0]), expected, atol=2e-3)
        decode(scene)


LENSES = {
    0: ((FOCAL, CX, CY), None),
    2: ((FOCAL, CX, CY, 0.1), (0.1, 0, 0, 0, 0)),
    3: ((FOCAL, CX, CY, 0.1, 0.2), (0.1, 0.2, 0, 0, 0)),
    4: ((FOCAL, FOCAL, CX, CY, 0.1, 0.2, 0.01, 0.02), (0.1, 0.2, 0.01, 0.02, 0)),
}


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("model", LENSES)
def test_lenses_are_kept_for_straightening(tmp_path, model, text):
    values, coefficients = LENSES[model]
    colmap(tmp_path, text=text, model=model, values=values)
    for name in ("frame_9", "frame_10", "frame_11"):
        write_picture(tmp_path / "images_2" / f"{name}.png", 8, 6)
    scene = read("colmap", tmp_path, llffhold=0, resolution=2)
    lens = scene.train[0].lens
    if coefficients is None:
        assert lens is None
        return
    assert lens.coefficients == coefficients
    assert lens.K == (FOCAL / 2, FOCAL / 2, CX / 2, CY / 2)  # of the picture that is straightened
    np.testing.assert_allclose(
        pixel(scene.train[0].camera, POINTS[0]), project(RIG[0], POINTS[0]) / 2, atol=2e-3
    )
    decode(scene)


def fisheye(folder):
    data = struct.pack("<Q", 1) + struct.pack("<iiQQ8d", 7, 5, 16, 12, *[1.0] * 8)
    (folder / "sparse" / "0" / "cameras.bin").write_bytes(data)


def cut(name, size):
    def breaks(folder):
        file = folder / "sparse" / "0" / name
        file.write_bytes(file.read_bytes()[:size])

    return breaks


BROKEN = {
    "no cameras": (lambda d: (d / "sparse" / "0" / "cameras.bin").unlink(), "cameras.bin"),
    "no poses": (lambda d: (d / "sparse" / "0" / "images.bin").unlink(), "images.bin"),
    "cut cameras": (cut("cameras.bin", 20), "cameras.bin.*ends in the middle"),
    "cut poses": (cut("images.bin", 100), "images.bin.*ends in the middle"),
    "cut points": (cut("points3D.bin", 100), "points3D.bin.*ends in the middle"),
    "empty poses": (cut("images.bin", 0), "images.bin.*ends in the middle"),
    "a fisheye lens": (fisheye, "cameras.bin.*model 5.*image_undistorter"),
    "no pictures": (lambda d: (d / "images").rename(d / "photos"), "images.*--images"),
    "a picture missing": (lambda d: (d / "images" / "frame_10.png").unlink(), "frame_10.png"),
    "another shape": (
        lambda d: write_picture(d / "images" / "frame_10.png", 12, 12),
        "frame_10.png.*12x12.*16x12",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_input_is_one_clear_error(folder, name):
    breaks, message = BROKEN[name]
    breaks(folder)
    with pytest.raises(InputError, match=message):
        read("colmap", folder)


def edit_line(name, line, change):
    def breaks(folder):
        file = folder / "sparse" / "0" / name
        lines = file.read_text().splitlines()
        lines[line] = change(lines[line])
        file.write_text("\n".join(lines) + "\n")

    return breaks


BROKEN_TEXT = {
    "a word for a number": (
        edit_line("cameras.txt", 1, lambda s: s.replace("20.0", "wide", 1)),
        "cameras.txt: line 2.*numbers",
    ),
    "a parameter missing": (
        edit_line("cameras.txt", 1, lambda s: s.rsplit(" ", 1)[0]),
        "cameras.txt: line 2.*fx fy cx cy",
    ),
    "an unknown model": (
        edit_line("cameras.txt", 1, lambda s: s.replace("PINHOLE", "FOV")),
        "cameras.txt.*FOV",
    ),
    "a short line": (edit_line("images.txt", 3, lambda s: s[:20]), "images.txt: line 4.*too early"),
    "an unknown camera": (
        edit_line("images.txt", 3, lambda s: s.replace(" 7 ", " 8 ")),
        "images.txt.*camera 8",
    ),
    "a point without colour": (
        edit_line("points3D.txt", 2, lambda s: s[:9]),
        "points3D.txt: line 3.*too early",
    ),
}


@pytest.mark.parametrize("name", BROKEN_TEXT)
def test_broken_text_names_its_line(tmp_path, name):
    colmap(tmp_path, text=True)
    breaks, message = BROKEN_TEXT[name]
    breaks(tmp_path)
    with pytest.raises(InputError, match=message):
        read("colmap", tmp_path)


def test_without_points_training_starts_from_random_ones_in_view(folder):
    (folder / "sparse" / "0" / "points3D.bin").unlink()
    scene = read("colmap", folder, init_points=50)
    assert len(scene.points.xyz) == 50
    seen = [pixel(frame.camera, xyz) for frame in scene.train for xyz in scene.points.xyz.tolist()]
    assert np.mean([(0 <= x <= WIDTH) and (0 <= y <= HEIGHT) for x, y in seen]) > 0.5


def test_points_that_3dgs_converted_are_read_where_colmap_s_are_gone(folder):
    (folder / "sparse" / "0" / "points3D.bin").unlink()
    write_ply(folder / "sparse" / "0" / "points3D.ply", POINTS)
    np.testing.assert_allclose(read("colmap", folder).points.xyz.numpy(), POINTS, atol=1e-6)


def rig(folder, name_of, still=True):
    """Three cameras at two moments, named by `name_of(camera, moment)`."""
    shots = []
    for k, w2c in enumerate(RIG):
        for moment in range(2):
            place = w2c[:3, 3] + (0 if still else 0.1 * moment)
            shots.append((quat_of(w2c[:3, :3]), place, name_of(k, moment)))
            write_picture(folder / "images" / name_of(k, moment))
    (folder / "sparse" / "0").mkdir(parents=True)
    colmap_binary(folder / "sparse" / "0", shots, 1, (FOCAL, FOCAL, CX, CY))
    return read("colmap", folder, llffhold=0).train


@pytest.mark.parametrize(
    ("pattern", "still"),
    [
        ("cam{0:02d}/{1:05d}.png", True),
        ("cam{0:02d}_{1:05d}.png", True),
        ("{1:05d}/cam{0:02d}.png", True),
        ("cam{0:02d}/{1:05d}.png", False),
    ],
)
def test_pictures_of_one_moment_of_a_rig_share_their_time(tmp_path, pattern, still):
    frames = rig(tmp_path, pattern.format, still)
    for frame in frames:
        name = frame.image_path.relative_to(tmp_path / "images").as_posix()
        moment = next(m for k in range(3) for m in range(2) if pattern.format(k, m) == name)
        assert (frame.index, frame.time) == (moment, float(moment))


def test_a_moving_camera_with_two_prefixes_is_no_rig(tmp_path):
    frames = rig(tmp_path, "part{0}_{1}.png".format, still=False)
    assert [frame.index for frame in frames] == list(range(6))
