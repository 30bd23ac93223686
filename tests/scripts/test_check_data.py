import re
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from arguments import parse_train_args
from scene import load_scene
from scripts.check_data import CONFIGS, check
from scripts.data_doctor.checks import columns_that_never_vary, splits_without_use
from scripts.data_doctor.notes import notes
from scripts.data_doctor.pictures import plot_cameras
from scripts.data_doctor.report import report
from tests.scene.datasets.reading import edit, read
from tests.scene.datasets.tiny_folders import (
    TINY,
    dnerf,
    dynerf,
    film,
    gaussianavatars,
    hypernerf,
    nerface,
    nerfblendshape,
    rgba_video,
    ub4d,
    write_picture,
)
from utils.images import read_image

pytestmark = pytest.mark.long


@pytest.fixture
def doctor(tmp_path, capsys, monkeypatch):
    """Write a folder, break it, examine it; returns the exit code and what was printed.

    The cameras, which take longer than all else, are not plotted.
    """
    monkeypatch.setattr("scripts.check_data.plot_cameras", lambda scene, path: None)

    def examine(writer, breaks=lambda folder: None, *options):
        folder = tmp_path / "scene"
        writer(folder)
        breaks(folder)
        code = check(folder, tmp_path / "out", list(options))
        return code, capsys.readouterr().out

    return examine


@pytest.mark.parametrize("name", TINY)
def test_a_whole_folder_of_every_family_passes(name, doctor, tmp_path, monkeypatch):
    monkeypatch.setattr("scripts.check_data.plot_cameras", plot_cameras)
    code, said = doctor(lambda folder: (folder.mkdir(), TINY[name](folder)))
    assert code == 0, said
    assert f"read as {name} (" in said
    for word in ("splits ", "resolution ", "time ", "conditioning ", "cameras ", "points "):
        assert f"\n{word}" in said
    assert read_image(tmp_path / "out" / "cameras.png").std() > 1
    assert read_image(tmp_path / "out" / "frames.png").std() > 1


def cut(name):
    def breaks(folder):
        file = folder / name
        file.write_bytes(file.read_bytes()[:-20])

    return breaks


def turn_cameras(folder):
    for split in ("train", "test"):

        def away(content):
            for frame in content["frames"]:
                matrix = np.array(frame["transform_matrix"])
                matrix[:3, 3] *= -1  # as if the other convention had been meant
                frame["transform_matrix"] = matrix.tolist()

        edit(folder / f"transforms_{split}.json", away)


def with_points(writer):
    def write(folder):
        writer(folder)
        np.savetxt(
            folder / "rows",
            np.random.default_rng(0).uniform(-0.3, 0.3, (50, 3)),
            fmt="%.3f",
            newline=" 9 9 9\n",
        )
        columns = "".join(f"property float {c}\n" for c in "xyz") + "".join(
            f"property uchar {c}\n" for c in ("red", "green", "blue")
        )
        header = f"ply\nformat ascii 1.0\nelement vertex 50\n{columns}end_header\n"
        (folder / "fused.ply").write_text(header + (folder / "rows").read_text())

    return write


def empty_masks(folder):
    for file in (folder / "mask").iterdir():
        cv2.imwrite(str(file), np.zeros((12, 16), np.uint8))


def one_time(folder):
    edit(folder / "transforms_train.json", lambda c: [f.update(time=0.5) for f in c["frames"]])


def one_moment(folder):
    def repeat(content):
        content["frames"][1].update(
            time=0.0, transform_matrix=content["frames"][0]["transform_matrix"]
        )

    edit(folder / "transforms_train.json", repeat)


def train_tests(folder):
    shutil.copy(folder / "transforms_train.json", folder / "transforms_test.json")


ERRORS = {
    "a cut picture": (rgba_video, cut("ref/2_rgba.png"), "2_rgba.png: the picture is damaged"),
    "a missing picture": (
        rgba_video,
        lambda d: shutil.rmtree(d / "zero123" / "2_rgba"),
        "zero123/2_rgba",
    ),
    "a mask of another size": (
        ub4d,
        lambda d: write_picture(d / "mask" / "00001.png", 8, 8, 1),
        "00001.png: the mask has 8x8",
    ),
    "cameras of another convention": (
        with_points(dnerf),
        turn_cameras,
        "cameras see none of the starting points",
    ),
    "train frames that test": (dnerf, train_tests, "trains and tests"),
    "no family": (lambda d: d.mkdir(), lambda d: None, "no family of datasets recognised"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_spoils_training_is_an_error(name, doctor):
    writer, breaks, words = ERRORS[name]
    code, said = doctor(writer, breaks)
    line = next(line for line in said.splitlines() if words in line)
    assert line.startswith("error ")
    assert code == 1


WARNINGS = {
    "no test frames": (rgba_video, lambda d: None, "--hold_out"),
    "empty masks": (ub4d, empty_masks, "covers nothing"),
    "one time": (dnerf, one_time, "all training frames have the same time"),
    "one moment twice": (dnerf, one_moment, "the same time from the same camera"),
    "test beyond train": (
        hypernerf,
        lambda d: None,
        "1 of 1 test frames lie outside the training times 0.000 to 0.500",
    ),
    "one camera": (
        rgba_video,
        lambda d: shutil.rmtree(d / "zero123"),
        "one camera that stands still",
    ),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_what_only_weakens_a_scene_is_a_warning(name, doctor):
    writer, breaks, words = WARNINGS[name]
    code, said = doctor(writer, breaks)
    line = next(line for line in said.splitlines() if words in line)
    assert line.startswith("warning ")
    assert code == 0


def veil(folder):
    """Alpha as STAG4D's anchors have it: 255 or 1, never 0."""
    for file in folder.rglob("*.png"):
        pixels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        pixels[..., 3] = np.where(pixels[..., 3] > 127, 255, 1)
        cv2.imwrite(str(file), pixels)


def floor(folder):
    """An opaque white floor before a transparent sky."""
    for file in (folder / "train").iterdir():
        pixels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        pixels[:6, :, 3], pixels[6:] = 0, 255
        cv2.imwrite(str(file), pixels)


NOTES = {
    "masks one ahead": (
        nerfblendshape,
        lambda d: None,
        "mask/1.png is taken for the mask of ori_imgs/0.jpg",
    ),
    "an alpha of one": (
        rgba_video,
        veil,
        "pictures looked at have an alpha of 1 of 255 and nowhere 0",
    ),
    "a white floor": (dnerf, floor, "100% of what the alpha shows is plain white"),
}


@pytest.mark.parametrize("name", NOTES)
def test_what_surprises_is_a_note_and_no_problem(name, tmp_path):
    writer, quirk, words = NOTES[name]
    writer(tmp_path)
    quirk(tmp_path)
    (found,) = notes(read(writer.__name__, tmp_path))
    assert found.kind == "note"
    assert words in found.text


@pytest.mark.parametrize("writer", [dnerf, nerface])
def test_ordinary_folders_need_no_notes(writer, tmp_path):
    writer(tmp_path)
    assert notes(read(writer.__name__, tmp_path)) == []


def in_a_folder(folder):
    dnerf(folder / "lego")


def with_video(folder):
    folder.mkdir()
    (folder / "clip.MP4").write_bytes(b"0")


HINTS = {
    "a folder of scenes": (in_a_folder, [], r"there are scenes in it: .*lego \(dnerf\)"),
    "a plain video": (with_video, [], "a video without cameras: pose it by COLMAP"),
    "something else": (lambda d: write_picture(d / "cat" / "a.png"), [], "it holds cat"),
    "nothing": (lambda d: d.mkdir(), [], "it holds nothing"),
    "another family": (nerface, ["--dataset", "dnerf"], "its files are those of nerface"),
    "no such folder": (lambda d: None, [], "data/README.md describes the folders"),
    "a broken one": (
        lambda d: (dnerf(d), (d / "transforms_test.json").unlink()),
        [],
        "what a folder of dnerf holds",
    ),
}


@pytest.mark.parametrize("name", HINTS)
def test_a_folder_that_cannot_be_read_gets_a_hint(name, doctor):
    writer, options, words = HINTS[name]
    code, said = doctor(writer, lambda d: None, *options)
    assert code == 1
    assert re.search(f"\nhint     .*{words}", said), said


def test_the_report_names_lens_files_and_where_the_head_is(tmp_path):
    nerfblendshape(tmp_path)
    said = report(read("nerfblendshape", tmp_path), tmp_path)
    assert said["lens"].endswith("focal lengths 20 and 20, principal point 8 6 of 16x12")
    assert said["files"] == "the first training frame is ori_imgs/0.jpg with mask/1.png"
    assert re.match(r"is the world's frame.* mouth from \(.* to \(", said["head"])


@pytest.mark.parametrize(
    ("held", "words"),
    [(False, "moves in its world"), (True, "is the world's frame, does not move in it")],
)
def test_a_head_that_moves_is_told_from_one_that_does_not(held, words, tmp_path):
    gaussianavatars(tmp_path)
    scene = read("gaussianavatars", tmp_path, fixed_head=held)
    assert report(scene, tmp_path)["head"].startswith(f"{words}, world units per metre 1")


@pytest.mark.parametrize(("writer", "is_head"), [(nerfblendshape, True), (dnerf, False)])
def test_the_mouth_is_framed_in_the_pictures_of_a_head(writer, is_head, doctor, tmp_path):
    doctor(writer)
    assert (n_green(tmp_path / "out" / "frames.png") > 0) == is_head


def n_green(file):
    return int((read_image(file)[..., :3] == (0, 255, 0)).all(-1).sum())


def test_expression_columns_that_never_vary_are_named(tmp_path):
    dnerf(tmp_path)
    scene = read("dnerf", tmp_path)
    rows = [torch.tensor([k, 7.0, -k]) for k in range(3)]
    train = [replace(frame, expression=row) for frame, row in zip(scene.train, rows, strict=True)]
    (problem,) = columns_that_never_vary(replace(scene, train=train))
    assert "expression: 1 (1) of 3 columns never vary" in problem.text
    poses = [torch.zeros(15).index_fill(0, torch.tensor([6]), k / 10) for k in range(3)]
    train = [replace(frame, flame_pose=row) for frame, row in zip(scene.train, poses, strict=True)]
    (problem,) = columns_that_never_vary(replace(scene, train=train))
    assert (
        "14 (root xyz, neck xyz, jaw yz, left_eye xyz, right_eye xyz) of 15 columns" in problem.text
    )


def test_a_head_s_test_frames_may_come_after_its_training_frames(tmp_path):
    nerfblendshape(tmp_path)
    assert list(splits_without_use(read("nerfblendshape", tmp_path))) == []


def test_more_test_than_training_frames_are_told(tmp_path):
    nerfblendshape(tmp_path)
    (found,) = splits_without_use(read("nerfblendshape", tmp_path, hold_out=2))
    assert found.text.startswith("2 frames test and only 1 train: hold fewer out")


def test_options_of_training_count(doctor):
    code, said = doctor(dynerf, lambda d: None, "-r", "2")
    assert code == 0
    assert "resolution   8x6" in said


def filmed(folder):
    dynerf(folder)
    film(folder)


def test_a_rig_of_videos_is_examined_and_nothing_is_extracted(doctor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, said = doctor(filmed)
    assert code == 0, said
    assert "no problems found" in said
    assert "note     pictures of 3 videos are not extracted yet" in said
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {
        "cam00.mp4", "cam01.mp4", "cam02.mp4", "points3D_downsample2.ply", "poses_bounds.npy"
    }  # fmt: skip
    shutil.rmtree("scene")
    code, said = doctor(filmed, cut_in_half("cam01.mp4"))
    assert code == 1
    assert "cam01.mp4: cannot be decoded" in said


def test_pictures_that_training_extracted_are_examined(doctor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, said = doctor(filmed, load_usual)
    assert code == 0, said
    assert "resolution   8x6" in said


def cut_in_half(name):
    def breaks(folder):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return breaks


def load_usual(folder):
    """As training by the family's default configuration loads it."""
    argv = ["-s", str(folder), "--configs", str(CONFIGS / "dynerf" / "default.py")]
    settings = parse_train_args(argv)
    load_scene(settings.dataset, settings.model, settings.data)


REAL = {
    "hypernerf/handheld": "no problems found",
    "dynerf/minions": "principal point 40 40 of 80x80",
    "nerfblendshape/obama": "mask/1.png is taken for the mask of ori_imgs/0.jpg",
    "imavatar/obama256": "root xyz, neck xyz, jaw yz",
    "rgba_video/minions": "an alpha of 1 of 255",
}


@pytest.mark.parametrize("folder", REAL)
def test_real_folders_have_no_errors_and_show_their_quirks(folder, data_folder, tmp_path, capsys):
    options = ["-r", "4", "--is_debug", "true"]
    assert check(data_folder / folder, tmp_path, options) == 0
    said = capsys.readouterr().out
    assert "error" not in said
    assert REAL[folder] in said
