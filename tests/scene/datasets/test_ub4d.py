import zipfile

import numpy as np
import pytest

from scene.datasets._arrays import read_arrays
from tests.scene.datasets.reading import decode, pixel, read
from tests.scene.datasets.tiny_folders import (
    POINTS,
    RIG,
    K,
    project,
    ub4d,
    write_picture,
    write_ply,
)
from utils.errors import InputError


@pytest.fixture
def folder(tmp_path):
    ub4d(tmp_path)
    return tmp_path


def change_matrices(change):
    def breaks(folder):
        file = folder / "projection_matrix.npz"
        matrices = dict(np.load(file))
        change(matrices)
        np.savez(file, **matrices)

    return breaks


@pytest.mark.parametrize("resolution", [-1, 2])
def test_known_points_land_on_known_pixels(folder, resolution):
    scene = read("ub4d", folder, resolution=resolution)
    for frame, w2c in zip(scene.train, RIG, strict=True):
        for xyz in POINTS:
            expected = project(w2c, xyz) / max(resolution, 1)
            np.testing.assert_allclose(pixel(frame.camera, xyz), expected, atol=2e-3)


def test_an_off_centre_principal_point_is_kept(folder):
    moved = K.copy()
    moved[:2, 2] = [5.0, 9.0]
    change_matrices(lambda m: m.update(proj_mat_1=0.3 * moved @ RIG[1][:3]))(folder)
    camera = read("ub4d", folder).train[1].camera
    np.testing.assert_allclose(
        pixel(camera, POINTS[0]), project(RIG[1], POINTS[0], center=(5.0, 9.0)), atol=2e-3
    )


def test_masks_are_the_coverage_and_the_names_the_clock(folder):
    (folder / "rgb" / "00002.png").rename(folder / "rgb" / "00004.png")
    (folder / "mask" / "00002.png").rename(folder / "mask" / "00004.png")
    change_matrices(lambda m: m.update(proj_mat_4=m["proj_mat_2"]))(folder)
    scene = read("ub4d", folder)
    assert [f.time for f in scene.train] == [0.0, 0.25, 1.0]
    assert [f.index for f in scene.train] == [0, 1, 2]
    loaded = decode(scene)
    assert 0.3 < loaded[0].alpha.mean() < 0.7
    assert (loaded[0].alpha != loaded[1].alpha).any()


def test_the_last_moments_test_where_asked(folder):
    assert not read("ub4d", folder).test
    scene = read("ub4d", folder, hold_out=0.34)
    assert ([f.index for f in scene.train], [f.index for f in scene.test]) == ([0, 1], [2])
    assert len(read("ub4d", folder, hold_out=1, eval=False).train) == 3


def test_the_folder_s_own_novel_cameras_make_the_video(folder):
    assert len(read("ub4d", folder).video) == 120
    np.savez(
        folder / "novel_projection_matrix.npz", proj_mat_0=K @ RIG[2][:3], proj_mat_1=K @ RIG[0][:3]
    )
    video = read("ub4d", folder).video
    np.testing.assert_allclose(
        pixel(video[0].camera, POINTS[0]), project(RIG[2], POINTS[0]), atol=2e-3
    )


def test_the_first_cloud_starts_it(folder):
    (folder / "pt_cld").mkdir()
    write_ply(folder / "pt_cld" / "000.ply", POINTS)
    np.testing.assert_allclose(read("ub4d", folder).points.xyz.numpy(), POINTS, atol=1e-6)


SKEWED = np.array([[K[0, 0], 9.0, K[0, 2]], K[1], K[2]])
BROKEN = {
    "no matrices": (lambda d: (d / "projection_matrix.npz").unlink(), "projection_matrix.npz"),
    "a matrix missing": (
        change_matrices(lambda m: m.pop("proj_mat_1")),
        "projection_matrix.npz.*proj_mat_1",
    ),
    "no matrix": (
        change_matrices(lambda m: m.update(proj_mat_1=np.eye(3))),
        r"proj_mat_1.*\(3, 3\).*3x4",
    ),
    "singular": (
        change_matrices(lambda m: m.update(proj_mat_1=np.zeros((3, 4)))),
        "proj_mat_1.*singular",
    ),
    "NaN": (
        change_matrices(lambda m: m.update(proj_mat_1=np.full((3, 4), np.nan))),
        "proj_mat_1.*NaN",
    ),
    "skewed": (change_matrices(lambda m: m.update(proj_mat_1=SKEWED @ RIG[1][:3])), "skewed"),
    "no pictures": (lambda d: [p.unlink() for p in (d / "rgb").iterdir()], "rgb"),
    "a name": (
        lambda d: (d / "rgb" / "00001.png").rename(d / "rgb" / "one.png"),
        "one.png.*not a number",
    ),
    "a mask missing": (lambda d: (d / "mask" / "00001.png").unlink(), "mask.*00001.png"),
    "mask of another size": (
        lambda d: write_picture(d / "mask" / "00001.png", 8, 8, 1),
        "00001.png.*8x8",
    ),
    "cut archive": (
        lambda d: (d / "projection_matrix.npz").write_bytes(b"PK\3\4junk"),
        "projection_matrix.npz",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_input_is_one_clear_error(folder, name):
    breaks, message = BROKEN[name]
    breaks(folder)
    with pytest.raises(InputError, match=message):
        decode(read("ub4d", folder))


@pytest.mark.long
@pytest.mark.parametrize("file", ["projection_matrix.npz", "points.npy"])
def test_an_archive_that_unfolds_to_gigabytes_is_refused_unread(tmp_path, file):
    if file.endswith("npz"):
        with (
            zipfile.ZipFile(tmp_path / file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made,
            made.open("proj_mat_0.npy", "w") as member,
        ):
            for _ in range(512):
                member.write(bytes(2**20))
    else:
        np.lib.format.open_memmap(tmp_path / file, "w+", np.float64, (2**26,))  # a sparse file
    with pytest.raises(InputError, match=r"its arrays take 536,87\d,"):
        read_arrays(tmp_path / file)
