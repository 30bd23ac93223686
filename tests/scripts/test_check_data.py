import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from scripts.check_data import check
from scripts.data_doctor.checks import columns_that_never_vary
from tests.scene.datasets.reading import edit, read
from tests.scene.datasets.tiny_folders import (
    TINY,
    dnerf,
    dynerf,
    hypernerf,
    rgba_video,
    ub4d,
    write_picture,
)
from utils.images import read_image


@pytest.fixture
def doctor(tmp_path, capsys):
    """Write a folder, break it, examine it; returns the exit code and what was printed."""

    def examine(writer, breaks=lambda folder: None, *options):
        folder = tmp_path / "scene"
        writer(folder)
        breaks(folder)
        code = check(folder, tmp_path / "out", list(options))
        return code, capsys.readouterr().out

    return examine


@pytest.mark.parametrize("name", TINY)
def test_a_whole_folder_of_every_family_passes(name, doctor, tmp_path):
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
        np.savetxt(folder / "rows", np.random.default_rng(0).uniform(-0.3, 0.3, (50, 3)), fmt="%.3f", newline=" 9 9 9\n")
        columns = "".join(f"property float {c}\n" for c in "xyz") + "".join(f"property uchar {c}\n" for c in ("red", "green", "blue"))
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
        content["frames"][1].update(time=0.0, transform_matrix=content["frames"][0]["transform_matrix"])

    edit(folder / "transforms_train.json", repeat)


def train_tests(folder):
    shutil.copy(folder / "transforms_train.json", folder / "transforms_test.json")


ERRORS = {
    "a cut picture": (rgba_video, cut("ref/2_rgba.png"), "2_rgba.png: the picture is damaged"),
    "a missing picture": (rgba_video, lambda d: shutil.rmtree(d / "zero123" / "2_rgba"), "zero123/2_rgba"),
    "a mask of another size": (ub4d, lambda d: write_picture(d / "mask" / "00001.png", 8, 8, 1), "00001.png: the mask has 8x8"),
    "cameras of another convention": (with_points(dnerf), turn_cameras, "cameras see none of the starting points"),
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
    "test beyond train": (hypernerf, lambda d: None, "1 of 1 test frames lie outside the training times 0.000 to 0.500"),
    "one camera": (rgba_video, lambda d: shutil.rmtree(d / "zero123"), "one camera that stands still"),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_what_only_weakens_a_scene_is_a_warning(name, doctor):
    writer, breaks, words = WARNINGS[name]
    code, said = doctor(writer, breaks)
    line = next(line for line in said.splitlines() if words in line)
    assert line.startswith("warning ")
    assert code == 0


def test_expression_columns_that_never_vary_are_named(tmp_path):
    dnerf(tmp_path)
    scene = read("dnerf", tmp_path)
    rows = [torch.tensor([k, 7.0, -k]) for k in range(3)]
    train = [replace(frame, expression=row) for frame, row in zip(scene.train, rows, strict=True)]
    (problem,) = columns_that_never_vary(replace(scene, train=train))
    assert "column 1 of 3 never varies" in problem.text


def test_options_of_training_count(doctor):
    code, said = doctor(dynerf, lambda d: None, "-r", "2")
    assert code == 0
    assert "resolution   8x6" in said


@pytest.mark.parametrize("folder", ["hypernerf/handheld", "dynerf/minions"])
def test_real_folders_have_no_errors(folder, data_folder, tmp_path, capsys):
    assert check(data_folder / folder, tmp_path, ["-r", "4"]) == 0
    assert "error" not in capsys.readouterr().out
