"""Scenes that leave their size or depth open train, or one line says why they cannot."""

import json
import math
import shutil

import cv2
import numpy as np
import pytest
from safetensors.torch import load_file

from arguments import parse_train_args
from scene import load_scene
from tests.tiny_scene import write_tiny_scene
from train import train
from utils.errors import InputError

FLAGS = "--init_points 100 --multires 1 --coarse_iterations 3 --iterations 6 --cache_mb 10 --quiet"


def parsed(folder, out, *more):
    return parse_train_args(["-s", str(folder), "-m", str(out), *FLAGS.split(), *more])


def change(folder, edit):
    for file in folder.glob("transforms_*.json"):
        content = json.loads(file.read_text())
        edit(content)
        file.write_text(json.dumps(content))


def tripod(content):
    """All cameras where the first one is; they look where they looked."""
    for frame in content["frames"]:
        pose = np.array(frame["transform_matrix"])
        pose[:3, 3] = 0.5, 2.0, 1.0
        frame["transform_matrix"] = pose.tolist()


def still(content):
    for frame in content["frames"]:
        frame["transform_matrix"] = content["frames"][0]["transform_matrix"]


def one_frame(content):
    del content["frames"][1:]


def flat(folder):
    rows = "".join(f"{k % 5} {k // 5} 0 9 9 9\n" for k in range(25))
    header = "".join(
        f"property {kind} {name}\n"
        for kind, names in (("float", "x y z"), ("uchar", "red green blue"))
        for name in names.split()
    )
    (folder / "fused.ply").write_text(
        f"ply\nformat ascii 1.0\nelement vertex 25\n{header}end_header\n{rows}"
    )


def portrait(folder):
    """The first training picture stands upright beside the others."""
    path = folder / "train" / "r_000.png"
    cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[:, 4:-4])


KINDS = {
    "portrait beside landscape": portrait,
    "tripod": lambda folder: change(folder, tripod),
    "a camera that stands still": lambda folder: change(folder, still),
    "one frame": lambda folder: change(folder, one_frame),
    "a flat cloud": flat,
}


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_scene_of_every_kind_trains_and_shows(kind, tmp_path):
    folder = write_tiny_scene(tmp_path / "scene")
    KINDS[kind](folder)
    settings = parsed(folder, tmp_path / "out")
    scene = load_scene(settings.dataset, settings.model, settings.data)
    assert scene.extent > 0
    assert all(abs(float(frame.camera.viewmat[:3, :3].det()) - 1) < 1e-3 for frame in scene.video)
    model = load_file(train(settings) / "model.safetensors")
    assert all(
        bool(value.isfinite().all()) for value in model.values() if value.is_floating_point()
    )


def test_one_starting_point_is_refused_before_training(tmp_path):
    folder = write_tiny_scene(tmp_path / "scene")
    with pytest.raises(InputError, match=r"starts from 1 points; at least 4 .*--init_points"):
        train(parsed(folder, tmp_path / "out", "--init_points", "1"))
    assert not (tmp_path / "out").exists()


def test_a_model_finds_the_data_of_a_relative_path(tmp_path, monkeypatch):
    folder = write_tiny_scene(tmp_path / "project" / "data" / "scene")
    out = tmp_path / "project" / "output" / "run"
    out.mkdir(parents=True)
    settings = parsed("data/scene", out)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"data/scene: there is no such folder.* -s PATH"):
        load_scene(settings.dataset, settings.model, settings.data)
    (out / "config.json").write_text("{}")
    scene = load_scene(settings.dataset, settings.model, settings.data)
    assert scene.train[0].image_path.resolve().is_relative_to(folder)
    shutil.rmtree(folder)
    with pytest.raises(InputError, match="-s PATH"):
        load_scene(settings.dataset, settings.model, settings.data)


def test_no_point_is_too_far_to_be_drawn(tmp_path):
    folder = write_tiny_scene(tmp_path / "scene")
    settings = parsed(folder, tmp_path / "out")
    scene = load_scene(settings.dataset, settings.model, settings.data)
    assert {frame.camera.far for frame in scene.train} == {math.inf}
