"""What the families of transforms*.json share: pictures, paths, lenses, empty splits."""

import json
import shutil

import cv2
import numpy as np
import pytest
import torch

from scene.frames import FrameLoader
from tests.scene.datasets.reading import edit, read
from tests.scene.datasets.tiny_folders import CX, CY, FOCAL, TINY, dnerf
from utils.errors import InputError
from utils.images import read_image

FILES = {
    "dnerf": "transforms_train.json",
    "nerface": "transforms_train.json",
    "insta": "transforms.json",
    "gaussianavatars": "transforms_train.json",
    "nerfblendshape": "transforms.json",
    "imavatar": "scene/train/flame_params.json",
}
BENT = {"camera_model": "OPENCV", "k1": -0.28, "k2": 0.09, "p1": 0.004, "p2": -0.003}


def folder_of(name, tmp_path):
    (tmp_path / "scene").mkdir()
    TINY[name](tmp_path / "scene")
    return tmp_path / "scene", tmp_path / "scene" / FILES[name]


@pytest.mark.parametrize("name", FILES)
def test_pictures_of_a_bent_lens_are_those_that_opencv_undistorts(name, tmp_path):
    folder, file = folder_of(name, tmp_path)
    edit(file, lambda content: content.update(BENT))
    part = {"part": "all"} if name not in ("dnerf", "insta") else {}
    frame = read(name, folder, **part).train[0]
    K = np.array([[FOCAL, 0, CX - 0.5], [0, FOCAL, CY - 0.5], [0, 0, 1]])  # centres at integers
    bent = np.array([BENT["k1"], BENT["k2"], BENT["p1"], BENT["p2"], 0.0])
    expected = cv2.undistort(read_image(frame.image_path), K, bent).astype(np.float32) / 255
    if expected.shape[2] == 4:
        alpha = expected[..., 3:]
        expected = expected[..., :3] * alpha + 1 - alpha
    loaded = FrameLoader(1, torch.device("cpu")).load(frame, torch.ones(3)).image
    assert loaded.permute(1, 2, 0).numpy() == pytest.approx(expected, abs=1.5 / 255)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "lens", [{"camera_model": "OPENCV_FISHEYE"}, {"is_fisheye": True}, {"k4": 0.1}]
)
def test_other_lenses_are_refused_by_name(name, lens, tmp_path):
    folder, file = folder_of(name, tmp_path)
    edit(file, lambda content: content.update(lens))
    key, value = next(iter(lens.items()))
    with pytest.raises(InputError, match=value if isinstance(value, str) else key):
        read(name, folder)


@pytest.mark.parametrize("name", FILES)
def test_coefficients_of_no_lens_are_refused(name, tmp_path):
    folder, file = folder_of(name, tmp_path)
    edit(file, lambda content: content.update(k2=1e308))
    with pytest.raises(InputError, match=r"coefficients .*1e\+308.*correct k1 k2"):
        read(name, folder)


@pytest.mark.parametrize("suffix", [".jpg", ".JPG", ".jpeg"])
def test_a_suffix_that_names_a_picture_is_kept(suffix, tmp_path):
    folder, _ = folder_of("dnerf", tmp_path)
    for path in folder.glob("t*/*.png"):
        cv2.imwrite(str(path.with_suffix(".jpg")), cv2.imread(str(path)))
        path.with_suffix(".jpg").rename(path.with_suffix(suffix))
    for split in ("train", "test"):
        edit(
            folder / f"transforms_{split}.json",
            lambda c: [f.update(file_path=f["file_path"] + suffix) for f in c["frames"]],
        )
    assert {f.image_path.suffix for f in read("dnerf", folder).train} == {suffix}


def test_a_missing_picture_names_both_tries_and_the_setting(tmp_path):
    folder, file = folder_of("dnerf", tmp_path)
    edit(file, lambda content: content["frames"][0].update(file_path="train/r_9.jpg"))
    with pytest.raises(InputError, match=r"r_9\.jpg: .*r_9\.jpg\.png .*--extension"):
        read("dnerf", folder)


@pytest.mark.parametrize("path", ["/", "\ud800", "a" * 5000, "train", "a/" * 3000])
def test_a_path_that_names_no_file_is_refused(path, tmp_path):
    folder, file = folder_of("dnerf", tmp_path)
    edit(file, lambda content: content["frames"][0].update(file_path=path))
    with pytest.raises(InputError):
        read("dnerf", folder)


@pytest.mark.parametrize("name", ["dnerf", "insta", "gaussianavatars", "imavatar"])
def test_paths_written_on_windows_are_found(name, tmp_path):
    folder, _ = folder_of(name, tmp_path)
    plain = [frame.image_path for frame in read(name, folder).train]
    for file in folder.rglob("*.json"):
        content = json.loads(file.read_text())
        for frame in content["frames"]:
            for key in ("file_path", "exp_path", "flame_param_path", "fg_mask_path"):
                if key in frame:
                    frame[key] = frame[key].replace("/", "\\")
        file.write_text(json.dumps(content))
    assert [frame.image_path.resolve() for frame in read(name, folder).train] == plain


@pytest.mark.parametrize("name", ["gaussianavatars", "dnerf", "nerface", "insta"])
def test_an_empty_val_file_reads_as_none(name, tmp_path):
    folder, _ = folder_of(name, tmp_path)
    if name == "insta":
        for split in ("train", "test"):
            shutil.copy(folder / "transforms.json", folder / f"transforms_{split}.json")
    val = folder / "transforms_val.json"
    val.unlink(missing_ok=True)
    without = read(name, folder)
    val.write_text('{"camera_angle_x": 0.6, "frames": []}')
    scene = read(name, folder)
    assert scene.val == []
    assert [f.image_path for f in scene.train] == [f.image_path for f in without.train]
    assert [f.time for f in scene.train] == [f.time for f in without.train]


@pytest.mark.parametrize("name", ["gaussianavatars", "dnerf", "nerface", "insta"])
def test_an_empty_test_file_leaves_no_test_frames(name, tmp_path):
    folder, file = folder_of(name, tmp_path)
    if name == "insta":
        for split in ("train", "test"):
            shutil.copy(file, folder / f"transforms_{split}.json")
    shown = [frame.image_path for frame in read(name, folder).train]
    edit(folder / "transforms_test.json", lambda content: content["frames"].clear())
    scene = read(name, folder)
    assert scene.test == []
    assert [frame.image_path for frame in scene.train] == shown
    edit(folder / "transforms_train.json", lambda content: content["frames"].clear())
    with pytest.raises(InputError, match=r"transforms_train\.json: it lists no frames"):
        read(name, folder)


def test_imavatar_s_focal_length_of_the_wrong_sign_is_named_before_the_pose(tmp_path):
    folder, file = folder_of("imavatar", tmp_path)
    edit(file, lambda c: c.update(intrinsics=[abs(c["intrinsics"][0]), *c["intrinsics"][1:]]))
    with pytest.raises(InputError, match=r"'intrinsics'.*fx is negative"):
        read("imavatar", folder)


def test_clocks_run_from_the_first_moment_to_the_last(tmp_path):
    dnerf(tmp_path)
    plain = [f.time for f in read("dnerf", tmp_path).train]
    for offset, unit in ((1000, 15), (-3, 0.5), (1.7e9, 1 / 30), (1.5, 0.01)):
        clock(tmp_path, lambda t, offset=offset, unit=unit: offset + unit * t)
        assert [f.time for f in read("dnerf", tmp_path).train] == pytest.approx(plain, abs=1e-5)
        clock(tmp_path, lambda t, offset=offset, unit=unit: (t - offset) / unit)


def clock(folder, change):
    for split in ("train", "test"):
        edit(
            folder / f"transforms_{split}.json",
            lambda c: [f.update(time=change(f["time"])) for f in c["frames"]],
        )


@pytest.mark.parametrize("strange", [1e308, -1e308, 1e7])
def test_one_time_that_flattens_all_others_is_named(strange, tmp_path):
    folder, file = folder_of("dnerf", tmp_path)
    edit(file, lambda content: content["frames"][1].update(time=strange))
    with pytest.raises(InputError, match=r"r_1\.png: its time is"):
        read("dnerf", folder)


@pytest.mark.parametrize(("name", "offset"), [("hypernerf", 40), ("ub4d", 40)])
def test_counts_of_other_families_need_not_begin_at_0(name, offset, tmp_path):
    folder = tmp_path / "scene"
    folder.mkdir()
    TINY[name](folder)
    plain = [f.time for f in read(name, folder).train]
    if name == "hypernerf":
        edit(folder / "metadata.json",
             lambda c: [f.update(warp_id=f["warp_id"] + offset) for f in c.values()])  # fmt: skip
    else:
        arrays = dict(np.load(folder / "projection_matrix.npz"))
        moved = {f"proj_mat_{k + offset}": arrays[f"proj_mat_{k}"] for k in range(3)}
        np.savez(folder / "projection_matrix.npz", **moved)
        for path in [*folder.glob("*/*.png")]:
            path.rename(path.with_stem(f"{int(path.stem) + offset:05d}"))
    assert [f.time for f in read(name, folder).train] == plain
