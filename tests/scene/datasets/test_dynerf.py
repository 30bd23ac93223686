import os
import shutil
import subprocess

import numpy as np
import pytest
import torch

from scene.datasets.dynerf import recognise
from tests.scene.datasets.reading import decode, pixel, read
from tests.scene.datasets.tiny_folders import POINTS, RIG, dynerf, film, project, write_picture
from utils.errors import InputError
from utils.images import read_image
from utils.ply import read_points
from utils.video import VideoWriter, find_ffmpeg


@pytest.fixture
def folder(tmp_path):
    dynerf(tmp_path)
    return tmp_path


def test_known_points_land_on_known_pixels(folder):
    scene = read("dynerf", folder)
    assert len(scene.train) == 4
    for camera, frame in enumerate([scene.test[0], scene.train[0], scene.train[2]]):
        for xyz in POINTS:
            np.testing.assert_allclose(
                pixel(frame.camera, xyz), project(RIG[camera], xyz), atol=1e-3
            )


def test_the_first_camera_is_held_out_and_all_share_the_clock(folder):
    scene = read("dynerf", folder)
    assert {f.image_path.parts[-3] for f in scene.test} == {"cam00"}
    assert {f.image_path.parts[-3] for f in scene.train} == {"cam01", "cam02"}
    assert [(f.index, f.time) for f in scene.train] == [(0, 0.0), (1, 1.0)] * 2
    assert len(read("dynerf", folder, eval=False).train) == 6


def test_intrinsics_follow_pictures_of_another_size(folder):
    poses = np.load(folder / "poses_bounds.npy")
    poses[:, [4, 9, 14]] *= 2  # calibrated on pictures twice as large
    np.save(folder / "poses_bounds.npy", poses)
    for resolution, factor in ((-1, 1), (1, 1), (2, 1), (4, 2)):
        scene = read("dynerf", folder, resolution=resolution)
        camera = scene.train[0].camera
        assert (camera.width, camera.height) == (16 // factor, 12 // factor)
        np.testing.assert_allclose(
            pixel(camera, POINTS[0]), project(RIG[1], POINTS[0]) / factor, atol=1e-3
        )
        decode(scene)


@pytest.fixture
def filmed(tmp_path):
    """The same rig as videos without pictures."""
    folder = tmp_path / "rig"
    folder.mkdir()
    dynerf(folder)
    film(folder)
    return folder


@pytest.fixture
def read_filmed(filmed):
    """Read it for a run beside it, and see that nothing was written into the dataset."""

    def call(**settings):
        before = sorted(filmed.rglob("*"))
        try:
            return read("dynerf", filmed, model_path=str(filmed.parent / "output/a"), **settings)
        finally:
            assert sorted(filmed.rglob("*")) == before

    return call


def leftovers(folder):
    return [path for path in folder.parent.glob("output/**/*") if path.name != "video_frames"]


def test_videos_become_folders_of_pictures_beside_the_output_once(filmed, read_filmed):
    scene = read_filmed()
    assert len(scene.train) == 4
    for frame in scene.train:
        camera = int(frame.image_path.parent.name[3:5])
        assert frame.image_path.parents[1] == filmed.parent / "output" / "video_frames"
        expected = 40 + 60 * camera + 30 * frame.index
        assert abs(float(read_image(frame.image_path).mean()) - expected) < 6
    before = frame.image_path.stat().st_mtime_ns
    read_filmed()
    assert frame.image_path.stat().st_mtime_ns == before


def test_without_an_output_pictures_go_to_the_folder_of_all_outputs(filmed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = read("dynerf", filmed).train[0]
    assert frame.image_path.parts[:2] == ("output", "video_frames")


def test_a_video_is_extracted_at_the_size_that_is_wanted_whatever_was_before(read_filmed):
    for resolution, shape in ((4, (3, 4, 3)), (-1, (12, 16, 3)), (2, (6, 8, 3))):
        frame = read_filmed(resolution=resolution).train[0]
        assert read_image(frame.image_path).shape == shape
        assert (frame.camera.height, frame.camera.width) == shape[:2]


def test_another_video_of_the_same_name_is_extracted_anew(filmed, read_filmed):
    read_filmed()
    with VideoWriter(filmed / "cam01.mp4", fps=30) as video:
        for _ in range(2):
            video.add(np.full((12, 16, 3), 250, np.uint8))
    assert read_image(read_filmed().train[0].image_path).mean() > 240


def test_a_user_s_own_pictures_win_over_the_video(filmed, read_filmed):
    for k in range(2):
        write_picture(filmed / "cam01" / "images" / f"{k}.png")
    scene = read_filmed()
    assert scene.train[0].image_path == filmed / "cam01" / "images" / "0.png"
    assert "video_frames" in scene.test[0].image_path.parts


def test_a_video_smaller_than_the_rig_is_not_blown_up(filmed, read_filmed):
    poses = np.load(filmed / "poses_bounds.npy")
    poses[:, [4, 9, 14]] *= 4
    np.save(filmed / "poses_bounds.npy", poses)
    for resolution in (-1, 2):
        frame = read_filmed(resolution=resolution).train[0]
        assert read_image(frame.image_path).shape == (12, 16, 3)
        assert (frame.camera.width, frame.camera.height) == (16, 12)


@pytest.mark.parametrize("fps", [12, 25, 30000 / 1001])
def test_the_scene_has_the_rate_of_its_videos(fps, filmed, tmp_path):
    dynerf(filmed)
    film(filmed, fps)
    scene = read("dynerf", filmed, model_path=str(tmp_path / "output/a"))
    assert scene.fps == pytest.approx(fps, rel=1e-4)


def test_the_rate_of_pictures_alone_is_thirty(folder):
    assert read("dynerf", folder).fps == 30


def test_a_broken_video_leaves_no_half_of_a_folder(filmed, read_filmed):
    video = filmed / "cam01.mp4"
    video.write_bytes(video.read_bytes()[:500])
    with pytest.raises(InputError, match=r"cam01\.mp4.*cannot be decoded"):
        read_filmed()
    assert not [path for path in leftovers(filmed) if "cam01" in path.name]


def test_a_full_disk_is_not_blamed_on_the_video(filmed, read_filmed, monkeypatch):
    video = filmed / "cam01.mp4"
    video.write_bytes(video.read_bytes()[:500])  # fails, as a full disk makes it fail
    usage = shutil.disk_usage(filmed)
    monkeypatch.setattr("utils.video_frames.shutil.disk_usage", lambda _: usage._replace(free=100))
    message = r"video_frames/cam01_16x12_\w+: the disk is full, 0 pictures of cam01\.mp4 fit"
    with pytest.raises(InputError, match=message):
        read_filmed()
    assert not [path for path in leftovers(filmed) if "cam01" in path.name]


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(filmed, read_filmed):
    (filmed.parent / "output").mkdir(mode=0o500)
    with pytest.raises(InputError, match=r"cam00.*could not be written"):
        read_filmed()


def test_without_points_the_start_is_random_in_view(folder):
    (folder / "points3D_downsample2.ply").unlink()
    scene = read("dynerf", folder, init_points=300)
    assert scene.points.xyz.shape == (300, 3)
    depth = torch.stack(
        [
            (f.camera.viewmat[:3, :3] @ scene.points.xyz.T)[2] + f.camera.viewmat[2, 3]
            for f in scene.train
        ]
    )
    assert depth.amax() <= 8.0 + 4.0  # at most the far bound of one camera, seen by another


def change_poses(change):
    def breaks(folder):
        poses = np.load(folder / "poses_bounds.npy")
        np.save(folder / "poses_bounds.npy", change(poses))

    return breaks


def set_cell(row, column, value):
    def change(poses):
        poses[row, column] = value
        return poses

    return change_poses(change)


BROKEN = {
    "no poses": (lambda d: (d / "poses_bounds.npy").unlink(), "poses_bounds.npy"),
    "a row too few": (change_poses(lambda p: p[:2]), "2 rows.*3 cameras"),
    "other columns": (change_poses(lambda p: p[:, :14]), r"poses_bounds.npy.*\(3, 14\).*nx17"),
    "NaN": (set_cell(1, 3, np.nan), "poses_bounds.npy.*NaN"),
    "no size": (set_cell(1, 4, 0), "row 1 says 16x0"),
    "no focal length": (set_cell(1, 14, 0), "row 1.*focal length"),
    "far before near": (set_cell(slice(None), 16, 0.5), "near is 1 and far 0.5"),
    "another shape": (set_cell(slice(None), 4, 16), "16x12.*16x16"),
    "pickled": (
        lambda d: np.save(d / "poses_bounds.npy", np.array([{}], dtype=object)),
        "poses_bounds.npy.*cannot be read",
    ),
    "one picture less": (
        lambda d: (d / "cam01" / "images" / "0001.png").unlink(),
        "cam00 2, cam01 1",
    ),
    "one of another size": (
        lambda d: write_picture(d / "cam01" / "images" / "0001.png", 20, 15),
        "0001.png.*20x15",
    ),
    "no pictures": (
        lambda d: [p.unlink() for p in (d / "cam01" / "images").iterdir()],
        "cam01.mp4",
    ),
    "cut points": (
        lambda d: (d / "points3D_downsample2.ply").write_text("ply\nformat"),
        "points3D_downsample2.ply",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_input_is_one_clear_error(folder, name):
    breaks, message = BROKEN[name]
    breaks(folder)
    with pytest.raises(InputError, match=message):
        read("dynerf", folder)


def test_the_real_hull_covers_the_silhouettes_of_all_cameras(data_folder):
    folder = data_folder / "dynerf" / "minions"
    scene = read("dynerf", folder)
    hull = read_points(folder / "points3D_downsample2.ply")[0]
    first = [f for f in [*scene.test, *scene.train] if f.index == 0]
    assert len(first) == 7
    for frame in first:
        found = np.array([pixel(frame.camera, xyz) for xyz in hull[::5].numpy()])
        ink = read_image(frame.image_path).min(2) < 250
        column, row = found.astype(int).clip(0, 319).T
        assert ink[row, column].mean() > 0.97  # mirrored or upside down: under 0.9
        rows, columns = np.nonzero(ink)
        assert abs(found[:, 0].min() - columns.min()) < 12
        assert abs(found[:, 1].max() - rows.max()) < 12


@pytest.mark.parametrize("turn", [90, 180])
def test_a_video_shot_upright_is_told_before_anything_is_written(filmed, read_filmed, turn):
    for file in filmed.glob("cam*.mp4"):
        plain = file.with_stem("plain")
        file.rename(plain)
        command = [find_ffmpeg(), "-v", "error", "-display_rotation", str(turn), "-i", str(plain)]
        subprocess.run([*command, "-c", "copy", str(file)], check=True)
        plain.unlink()
    before = sorted(filmed.parent.rglob("*"))
    if turn == 180:
        assert read_filmed().train[0].camera.width == 16
        return
    with pytest.raises(InputError, match=r"cam00\.mp4: it has 12x16 pixels when upright.*16x12"):
        read_filmed()
    assert sorted(filmed.parent.rglob("*")) == before


def test_videos_are_found_whatever_the_case_of_their_names(filmed, read_filmed):
    for file in filmed.glob("cam*.mp4"):
        file.rename(file.with_name(f"{file.stem}.MP4"))
    assert recognise(filmed)
    assert len(read_filmed().train) == 4


def test_the_layout_of_4dgaussians_reads_as_the_usual_one(folder):
    plain = read("dynerf", folder)
    kept = {f.image_path: f.image_path.read_bytes() for f in plain.train + plain.test}
    for images in folder.glob("cam*/images"):
        for k, path in enumerate(sorted(images.iterdir())):
            path.rename(images.parent / f"frame_{k + 1:05d}.png")
        images.rmdir()
    (folder / "poses_bounds.npy").rename(folder / "poses_bounds_multipleview.npy")
    (folder / "points3D_downsample2.ply").rename(folder / "points3D_multipleview.ply")
    (folder / "sparse_").mkdir()
    scene = read("auto", folder)
    assert torch.equal(scene.points.xyz, plain.points.xyz)
    for ours, theirs in zip(scene.train + scene.test, plain.train + plain.test, strict=True):
        assert (ours.index, ours.time) == (theirs.index, theirs.time)
        assert torch.equal(ours.camera.viewmat, theirs.camera.viewmat)
        assert ours.image_path.read_bytes() == kept[theirs.image_path]
