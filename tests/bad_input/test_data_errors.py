"""What is wrong with a scene is said before anything is written."""

import math
import shutil
import subprocess
import sys

import pytest

from tests.bad_input.damage import SHORT, cut, edit
from tests.methods import CASES, ROOT
from tests.tiny_scene import write_tiny_scene

FLAGS = [*CASES["fourdgs"].flags(iterations=8, first=4), *SHORT]


@pytest.fixture
def scene(tmp_path):
    """A scene that a test may break."""
    return write_tiny_scene(tmp_path / "scene")


@pytest.fixture
def train_refused(refused, scene, tmp_path):
    """train.py on the broken scene: one line, and no output folder."""

    def call(*more):
        line = refused("train.py", "-s", scene, "-m", tmp_path / "out", *FLAGS, *more)
        assert not (tmp_path / "out").exists()
        return line

    return call


def edit_split(scene, change, split="train"):
    edit(scene / f"transforms_{split}.json", change)


def frame_2(**values):
    return lambda content: content["frames"][2].update(values)


def poisoned_pose(content):
    content["frames"][2]["transform_matrix"][1][3] = math.nan


def singular_pose(content):
    content["frames"][2]["transform_matrix"][1] = [0.0, 0.0, 0.0, 0.0]


POINTS = "ply\nformat ascii 1.0\nelement vertex {n}\n{columns}end_header\n{rows}"
XYZ = "".join(f"property float {name}\n" for name in "xyz")
COLORS = "".join(f"property uchar {name}\n" for name in ("red", "green", "blue"))


def write_points(scene, rows, columns=XYZ + COLORS):
    (scene / "fused.ply").write_text(
        POINTS.format(n=len(rows), columns=columns, rows="".join(rows))
    )


# What is wrong: how to make it so, words of the message in their order.
BROKEN_SCENES = {
    "missing image": (
        lambda s: (s / "train/r_002.png").unlink(),
        "r_002.png: no such picture; put it there",
    ),
    "corrupt image": (
        lambda s: (s / "train/r_002.png").write_bytes(b"no"),
        "r_002.png: not a whole PNG",
    ),
    "cut image": (lambda s: cut(s / "train/r_002.png"), "r_002.png: the picture is damaged or cut"),
    "cut test image": (
        lambda s: cut(s / "test/r_001.png"),
        "test/r_001.png: the picture is damaged or cut",
    ),
    "cut JSON": (
        lambda s: cut(s / "transforms_train.json"),
        "transforms_train.json: cannot be read as JSON",
    ),
    "no JSON": (
        lambda s: (s / "transforms_train.json").unlink(),
        "no family of datasets recognised. Looked for.*dnerf: transforms_train.json",
    ),
    "no pose": (
        lambda s: edit_split(s, lambda c: c["frames"][2].pop("transform_matrix")),
        "transforms_train.json: frame 2 (./train/r_002) has no 'transform_matrix'; expected",
    ),
    "pose of words": (
        lambda s: edit_split(s, frame_2(transform_matrix="up")),
        "frame 2 .* is not a 4x4 matrix",
    ),
    "singular pose": (lambda s: edit_split(s, singular_pose), "frame 2 .*singular.*mend or remove"),
    "NaN in a pose": (lambda s: edit_split(s, poisoned_pose), "frame 2 .*NaN.*mend or remove"),
    "NaN time": (
        lambda s: edit_split(s, frame_2(time=math.nan)),
        "frame 2 .*'time' is nan; expected",
    ),
    "nameless frame": (
        lambda s: edit_split(s, frame_2(file_path=7)),
        "frame 2.*'file_path' is 7; expected a text",
    ),
    "size": (
        lambda s: edit_split(s, frame_2(w=48, h=24)),
        "r_002.*24x24 but its camera says 48x24; resize",
    ),
    "size of words": (
        lambda s: edit_split(s, frame_2(w="wide")),
        "r_002.*'w' is 'wide'; expected a number",
    ),
    "center of words": (
        lambda s: edit_split(s, frame_2(cx="mid")),
        "r_002.*'cx' is 'mid'; expected a number",
    ),
    "no list of test frames": (
        lambda s: edit_split(s, lambda c: c.pop("frames"), "test"),
        "transforms_test.json: 'frames' is nothing; expected a list of objects",
    ),
    "list for scene": (
        lambda s: (s / "transforms_train.json").write_text("[]"),
        "expected an object",
    ),
    "cut points": (
        lambda s: (s / "fused.ply").write_text("ply\nformat"),
        "fused.ply: cannot be read as a PLY",
    ),
    "no points": (lambda s: write_points(s, []), "fused.ply: it holds no points"),
    "NaN points": (
        lambda s: write_points(s, ["0 0 nan 9 9 9\n"] * 9),
        "9 of its 9 points are not finite",
    ),
}


@pytest.mark.parametrize("broken", BROKEN_SCENES)
def test_a_broken_scene_is_named_before_anything_is_written(broken, scene, train_refused):
    breaks, words = BROKEN_SCENES[broken]
    breaks(scene)
    line = train_refused()
    assert _matches(words, line), line
    assert str(scene) in line


def _matches(words, line):
    at = 0
    for part in words.split(".*"):
        found = line.find(part.strip(), at)
        if found < 0:
            return False
        at = found + len(part.strip())
    return True


def test_a_broken_picture_beyond_the_cache_is_found_before_training(scene, train_refused):
    cut(scene / "train/r_011.png", keep=0.9)
    assert "r_011.png: the picture is damaged" in train_refused("--cache_mb", "0")


def test_a_scene_folder_that_is_not_there_is_named(scene, train_refused):
    shutil.rmtree(scene)
    assert f"{scene}: there is no such folder; name the folder of a dataset" in train_refused()


def test_a_process_fails_with_code_2_and_one_line_and_debug_shows_the_traceback(scene, tmp_path):
    cut(scene / "transforms_train.json")
    argv = [sys.executable, "train.py", "-s", str(scene), "-m", str(tmp_path / "out"), *FLAGS]
    short, long = (
        subprocess.run([*argv, *more], cwd=ROOT, capture_output=True, text=True)
        for more in ((), ("--debug",))
    )
    assert short.returncode == 2
    assert len(short.stderr.splitlines()) == 1
    assert short.stdout == ""
    assert "Traceback" in long.stderr
    assert long.stderr.splitlines()[-1].endswith(short.stderr.removeprefix("error: ").strip())
    assert not (tmp_path / "out").exists()
