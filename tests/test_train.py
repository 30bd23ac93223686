"""The whole path on a scene of a few pixels: train, resume, render. Methods are parametrised: a new one joins CASES."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from arguments import parse_render_args, parse_train_args
from render import render_model
from tests.tiny_scene import write_tiny_head, write_tiny_scene
from train import train
from utils.errors import InputError
from utils.images import read_image
from utils.ply import read_gaussians

ROOT = Path(__file__).parents[1]
SHORT_RUN = (
    "--iterations 60 --densify_from_iter 10 --densification_interval 20 --pruning_from_iter 10 "
    "--pruning_interval 20 --checkpoint_every 25 --init_points 200 --cache_mb 10 --quiet"
)


@dataclass(frozen=True)
class Case:
    """A method on a scene that has what it needs."""

    method: str
    write: Callable[[Path], Path]
    flags: str
    last: str  # name of the last stage
    moments: tuple[tuple[str, int], ...]  # checkpoints to resume from
    views: dict[str, int]  # pictures of each split
    video: int


CASES = (
    Case(
        "fourdgs", write_tiny_scene, "--coarse_iterations 30 --multires 1", "fine",
        (("coarse", 25), ("coarse", 30), ("fine", 25), ("fine", 50)), {"train": 12, "test": 3, "val": 2}, 160,
    ),
    Case(
        "gaussianhead", write_tiny_head, "--warm_up 20 --deform_width 16 --plane_resolution 16",
        "main", (("main", 25), ("main", 50)), {"train": 12, "test": 3}, 3,
    ),
)  # fmt: skip


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.method)
def case(request):
    return request.param


@pytest.fixture(scope="module")
def scene(case, tmp_path_factory):
    return case.write(tmp_path_factory.mktemp("data") / "tiny")


def arguments(case, scene, out, *more):
    flags = f"--method {case.method} {SHORT_RUN} {case.flags}".split()
    return ["-s", str(scene), "-m", str(out), *flags, *more]


def run(case, scene, out, *more):
    return train(parse_train_args(arguments(case, scene, out, *more)))


@pytest.fixture(scope="module")
def unbroken(case, scene, tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken")
    run(case, scene, out)
    return out


@pytest.fixture(scope="module")
def repeated(case, scene, tmp_path_factory):
    """The same run again, keeping the checkpoints that tests begin at."""
    out = tmp_path_factory.mktemp("repeated")
    run(case, scene, out, "--checkpoint_iterations", "25", "30", "50")
    return out


def test_every_method_has_a_case():
    assert {case.method for case in CASES} == {p.stem for p in (ROOT / "scene/methods").glob("[!_]*.py")}


def model_bytes(out):
    return (out / "point_cloud/iteration_60/model.safetensors").read_bytes()


def log_rows(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_training_lowers_the_loss_and_grows_rows(case, unbroken):
    rows = [row for row in log_rows(unbroken) if "loss" in row]
    last = [row["loss"] for row in rows if row["stage"] == case.last]
    assert np.mean(last[-2:]) < 0.8 * rows[0]["loss"]
    assert rows[-1]["n_gaussians"] != 200


def test_a_run_leaves_what_the_page_on_data_flow_promises(case, unbroken):
    for name in ("config.json", "log.jsonl", "curves.png", "point_cloud/iteration_60/point_cloud.ply"):
        assert (unbroken / name).is_file(), name
    assert {p.name for p in (unbroken / "checkpoints").iterdir()} == {f"{case.last}_60"}
    assert read_image(unbroken / f"sheets/{case.last}_000060_test.png").shape[2] == 3
    table = load_file(unbroken / "point_cloud/iteration_60/model.safetensors")
    columns = read_gaussians(unbroken / "point_cloud/iteration_60/point_cloud.ply", 3)
    assert torch.equal(columns["means"], table["table.columns.means"])


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    case, scene, unbroken, repeated, tmp_path
):
    run(case, scene, tmp_path, "--seed", "1")
    assert model_bytes(repeated) == model_bytes(unbroken)
    assert model_bytes(tmp_path) != model_bytes(unbroken)


def test_a_resumed_run_ends_in_the_same_bytes(case, scene, unbroken, repeated, tmp_path):
    for stage, step in case.moments:
        start, out = repeated / f"checkpoints/{stage}_{step}", tmp_path / f"{stage}_{step}"
        run(case, scene, out, "--start_checkpoint", str(start))
        assert model_bytes(out) == model_bytes(unbroken), (stage, step)


def test_a_killed_run_goes_on_to_the_same_bytes(case, scene, unbroken, tmp_path):
    command = [sys.executable, "train.py", *arguments(case, scene, tmp_path)]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    for k in range(2):
        process = subprocess.Popen(command, cwd=ROOT, env=environment)
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(f"checkpoints/*_{25 * (k + 1)}/state.json")):
            assert process.poll() is None or list(tmp_path.glob(f"checkpoints/{case.last}_60"))
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    assert model_bytes(tmp_path) == model_bytes(unbroken)
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {f"{case.last}_60"}
    steps = [(r["stage"], r["step"]) for r in log_rows(tmp_path) if "loss" in r]
    assert steps == [(r["stage"], r["step"]) for r in log_rows(unbroken) if "loss" in r]


def test_an_interrupt_saves_and_says_how_to_go_on(case, scene, unbroken, tmp_path):
    command = [sys.executable, "train.py", *arguments(case, scene, tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    while not (tmp_path / "log.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert "same command again" in output
    run(case, scene, tmp_path)
    assert model_bytes(tmp_path) == model_bytes(unbroken)


def test_a_folder_with_a_run_of_other_settings_is_refused_unless_restarted(case, scene, unbroken):
    with pytest.raises(InputError, match=r"other settings \(seed\).*--restart"):
        run(case, scene, unbroken, "--seed", "5")


def test_every_split_is_rendered_with_depth_and_video(case, unbroken):
    render_model(*parse_render_args(["--model_path", str(unbroken), "--depth", "--quiet"]))
    for split, count in case.views.items():
        folder = unbroken / split / "ours_60"
        for kind in ("renders", "gt", "depth"):
            assert len(list((folder / kind).glob("*.png"))) == count, (split, kind)
    assert len(list((unbroken / "video/ours_60/renders").glob("*.png"))) == case.video
    assert (unbroken / "video/ours_60/video_rgb.mp4").stat().st_size > 1000


def test_an_unknown_iteration_lists_those_there_are(unbroken):
    with pytest.raises(InputError, match="there are 60"):
        render_model(*parse_render_args(["--model_path", str(unbroken), "--iteration", "7"]))


@pytest.mark.parametrize("name", ["model.safetensors"])
def test_a_truncated_model_is_refused_by_name(scene, tmp_path, unbroken, name):
    import shutil

    shutil.copytree(unbroken, tmp_path / "copy")
    file = tmp_path / "copy" / "point_cloud/iteration_60" / name
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(InputError, match=name):
        render_model(*parse_render_args(["--model_path", str(tmp_path / "copy"), "--quiet"]))
