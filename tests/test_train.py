"""The whole path on a scene of a few pixels, with every method: train, resume, render."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import imageio.v2 as iio
import numpy as np
import pytest
import torch
from plyfile import PlyData
from safetensors.torch import load_file

from arguments import parse_render_args, parse_train_args
from export import ply
from render import render_model
from scene.facts import SceneFacts
from scene.methods import model_folder, read_method
from scoring.curves import draw_curves
from tests.methods import CASES, EVERY, ROOT, TWO
from train import train
from training import logger
from utils.errors import InputError
from utils.images import read_image

SHORT = (
    "--densify_from_iter 10 --densification_interval 20 "
    "--pruning_from_iter 10 --pruning_interval 20 --checkpoint_every 25 "
    "--init_points 200 --cache_mb 10 --quiet"
)


@pytest.fixture(scope="module", params=EVERY)
def case(request):
    """Each method in turn, the one for the tests among them."""
    return CASES[request.param]


def arguments(case, scene, out, *more):
    return [
        "-s",
        str(scene),
        "-m",
        str(out),
        *case.flags(iterations=60, first=30),
        *SHORT.split(),
        *more,
    ]


def run(case, scene, out, *more):
    return train(parse_train_args(arguments(case, scene, out, *more)))


@pytest.fixture(scope="module")
def unbroken(case, tiny_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.logger.draw_curves", draw_curves)
        run(case, tiny_folder, out)
    return out


@pytest.fixture(scope="module")
def repeated(case, tiny_folder, tmp_path_factory):
    """The same run again, keeping the checkpoints that tests begin at."""
    out = tmp_path_factory.mktemp("repeated")
    run(case, tiny_folder, out, "--checkpoint_iterations", "25", "30", "50")
    return out


def test_every_method_has_a_case_and_every_case_a_method():
    assert list(CASES) == EVERY
    assert all(case.method == name for name, case in CASES.items() if name != "carried")


def model_bytes(out):
    return (out / "point_cloud/iteration_60/model.safetensors").read_bytes()


def log_rows(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_training_lowers_the_loss_and_grows_rows(case, unbroken):
    rows = [row for row in log_rows(unbroken) if "loss" in row]
    last = [row["loss"] for row in rows if row["stage"] == case.last]
    first = next(row["loss"] for row in rows if row["stage"] == (case.measures or case.drawing))
    assert np.mean(last[-2:]) < 0.8 * first
    assert rows[-1]["n_gaussians"] != 200


def test_a_run_leaves_what_the_page_on_data_flow_promises(case, unbroken):
    for name in (
        "config.json",
        "log.jsonl",
        "curves.png",
        "point_cloud/iteration_60/point_cloud.ply",
    ):
        assert (unbroken / name).is_file(), name
    assert {p.name for p in (unbroken / "checkpoints").iterdir()} == {f"{case.last}_60"}
    assert read_image(unbroken / f"sheets/{case.last}_000060_test.png").shape[2] == 3
    table = load_file(unbroken / "point_cloud/iteration_60/model.safetensors")
    columns = ply.read(unbroken / "point_cloud/iteration_60/point_cloud.ply", 3)
    assert len(columns["means"]) == len(table[f"table.columns.{case.place}"])
    if case.place == "means" and case.at_rest:
        assert torch.equal(columns["means"], table["table.columns.means"])


def test_a_model_trained_antialiased_says_so_to_whoever_draws_it(
    case, tiny_folder, unbroken, tmp_path
):
    run(case, tiny_folder, tmp_path, "--antialiased")
    assert model_bytes(tmp_path) != model_bytes(unbroken)
    for out, antialiased in ((tmp_path, True), (unbroken, case.antialiased)):
        settings, _ = parse_render_args(["--model_path", str(out)])
        folder = model_folder(out, -1)
        method = read_method(folder, SceneFacts.read(folder), settings, torch.device("cpu"))
        assert method.antialiased is antialiased
        comments = PlyData.read(folder / "point_cloud.ply").comments
        assert (ply.ANTIALIASED in comments) is antialiased


@pytest.mark.long
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    case, tiny_folder, unbroken, repeated, tmp_path
):
    run(case, tiny_folder, tmp_path, "--seed", "1")
    assert model_bytes(repeated) == model_bytes(unbroken)
    assert model_bytes(tmp_path) != model_bytes(unbroken)


@pytest.mark.long
def test_the_number_of_threads_changes_no_byte(
    case, tiny_folder, unbroken, restore_threads, tmp_path
):
    for threads in {1, 3} - {torch.get_num_threads()}:
        torch.set_num_threads(threads)
        run(case, tiny_folder, tmp_path / str(threads))
        assert model_bytes(tmp_path / str(threads)) == model_bytes(unbroken), threads


@pytest.mark.long
def test_a_resumed_run_ends_in_the_same_bytes(case, tiny_folder, unbroken, repeated, tmp_path):
    kept = sorted(
        path for path in (repeated / "checkpoints").iterdir() if path.name != f"{case.last}_60"
    )
    assert {path.name.split("_")[0] for path in kept} == {*case.stages} - {*case.short}
    for start in kept:
        out = tmp_path / start.name
        run(case, tiny_folder, out, "--start_checkpoint", str(start))
        assert model_bytes(out) == model_bytes(unbroken), start.name


def test_an_interrupt_saves_between_checkpoints_and_the_run_goes_on(
    case, tiny_folder, unbroken, tmp_path, monkeypatch
):
    append = logger.append_text

    def interrupt(path, text):
        append(path, text)
        monkeypatch.undo()
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("training.logger.append_text", interrupt)
    with pytest.raises(SystemExit) as left:
        run(case, tiny_folder, tmp_path)
    assert left.value.code == 130
    run(case, tiny_folder, tmp_path)
    assert model_bytes(tmp_path) == model_bytes(unbroken)


# train.py in a process that signals itself at the first line of its log after a file is there.
STOPPED = """
import utils.threads
import os, runpy, signal, sys
from tests.with_more_methods import know_more_methods
from training import logger

know_more_methods()

name, file, *flags = sys.argv[1:]
append = logger.append_text

def append_and_stop(path, text):
    append(path, text)
    if list(path.parent.glob(file)):
        logger.append_text = append
        os.kill(os.getpid(), signal.Signals[name])

logger.append_text = append_and_stop
sys.argv = ["train.py", *flags]
runpy.run_path("train.py", run_name="__main__")
"""


def stopped(case, scene, out, signal_name, file):
    """The ended process of a run that got the signal as soon as `file`, a pattern, was in `out`."""
    command = [sys.executable, "-c", STOPPED, signal_name, file, *arguments(case, scene, out)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.methods(*TWO)
def test_a_killed_run_goes_on_to_the_same_bytes(case, tiny_folder, unbroken, tmp_path):
    for step in (25, 50):
        file = f"checkpoints/*_{step}/state.json"
        killed = stopped(case, tiny_folder, tmp_path, "SIGKILL", file)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert list(tmp_path.glob(file))
        assert log_rows(tmp_path)[-1]["step"] > step
    run(case, tiny_folder, tmp_path)
    assert model_bytes(tmp_path) == model_bytes(unbroken)
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {f"{case.last}_60"}
    steps = [(r["stage"], r["step"]) for r in log_rows(tmp_path) if "loss" in r]
    assert steps == [(r["stage"], r["step"]) for r in log_rows(unbroken) if "loss" in r]


@pytest.mark.methods("fourdgs")
@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_an_interrupt_saves_and_says_how_to_go_on(case, tiny_folder, unbroken, tmp_path, name):
    interrupted = stopped(case, tiny_folder, tmp_path, name, "log.jsonl")
    assert interrupted.returncode == 130, interrupted.stderr
    assert "same command again" in interrupted.stdout
    run(case, tiny_folder, tmp_path)
    assert model_bytes(tmp_path) == model_bytes(unbroken)


@pytest.mark.methods("fourdgs")
def test_a_run_that_nobody_hears_trains_to_its_end(tiny_folder, case, unbroken, tmp_path):
    flags = [flag for flag in arguments(case, tiny_folder, tmp_path) if flag != "--quiet"]
    command = [sys.executable, "tests/with_more_methods.py", "train.py", *flags]
    script = '"$@" 2>&1 >&- | head -c 1'
    subprocess.run(["bash", "-c", script, "bash", *command], cwd=ROOT, check=True)
    assert model_bytes(tmp_path) == model_bytes(unbroken)
    assert log_rows(tmp_path)[-1]["step"] == 60


def ended_in_doubt(tmp_path, capsys, *flags):
    """The warning of such a run, and its log."""
    case, out = CASES["fourdgs"], tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        run(case, case.write(tmp_path / "data"), out, *flags)
    assert ended.value.code == 3
    assert model_bytes(out)
    (line,) = capsys.readouterr().err.splitlines()
    rows = log_rows(out)
    assert line == f"warning: {rows[-1]['warning']}"
    return line, rows


@pytest.mark.long
def test_a_model_that_ends_blank_is_a_warning_and_code_3(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("training.run.BLANK", 1e6)  # as if nothing that is drawn were enough
    line, rows = ended_in_doubt(tmp_path, capsys)
    assert f"{tmp_path}/out/point_cloud/iteration_60: the model ends blank" in line
    with pytest.raises(SystemExit) as ended:  # the same command again
        run(CASES["fourdgs"], tmp_path / "data", tmp_path / "out")
    assert ended.value.code == 3
    assert capsys.readouterr().err == f"{line}\n"
    assert log_rows(tmp_path / "out") == rows


@pytest.mark.long
def test_a_model_that_ends_far_below_its_first_score_is_one_too(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("training.run.LOST", -100)  # as if it had gained too little
    line, rows = ended_in_doubt(tmp_path, capsys)
    first, *_, last = [row["psnr"] for row in rows if row.get("split") == "train"]
    assert f"the training views end at {last:.2f} dB, they had {first:.2f} dB at first" in line


@pytest.mark.methods(*TWO)
def test_a_folder_with_a_run_of_other_settings_is_refused_unless_restarted(
    case, tiny_folder, unbroken
):
    with pytest.raises(InputError, match=r"other settings \(seed\).*--restart"):
        run(case, tiny_folder, unbroken, "--seed", "5")


def test_every_split_is_rendered_with_depth_and_video(case, unbroken):
    render_model(*parse_render_args(["--model_path", str(unbroken), "--depth", "--quiet"]))
    for split, count in case.views.items():
        folder = unbroken / split / "ours_60"
        for kind in ("renders", "gt", "depth"):
            assert len(list((folder / kind).glob("*.png"))) == count, (split, kind)
    assert len(list((unbroken / "video/ours_60/renders").glob("*.png"))) == case.video
    assert (unbroken / "video/ours_60/video_rgb.mp4").stat().st_size > 1000


@pytest.mark.methods("fourdgs")
def test_nothing_is_drawn_through_a_link(case, unbroken, tmp_path):
    model, mine = tmp_path / "model", tmp_path / "mine"
    shutil.copytree(unbroken, model)
    mine.mkdir()
    (mine / "a.png").write_text("mine")
    shutil.rmtree(model / "test", ignore_errors=True)
    (model / "test/ours_60").mkdir(parents=True)
    (model / "test/ours_60/renders").symlink_to(mine)
    before = sorted(model.rglob("*"))
    with pytest.raises(InputError, match="test/ours_60/renders: it is a link"):
        render_model(*parse_render_args(["-m", str(model), "--quiet"]))
    assert sorted(model.rglob("*")) == before  # not even the pictures of other splits
    assert [path.name for path in mine.iterdir()] == ["a.png"]


@pytest.mark.methods("fourdgs")
def test_nothing_is_drawn_into_the_dataset(case, unbroken, tiny_folder, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(tiny_folder, data)
    shutil.copytree(unbroken, data / "model")
    with pytest.raises(InputError, match="is, holds or lies in the dataset's folder"):
        render_model(*parse_render_args(["-m", str(data / "model"), "-s", str(data), "--quiet"]))


@pytest.mark.methods("fourdgs")
def test_pictures_of_different_sizes_make_a_video_each(case, unbroken, monkeypatch, tmp_path):
    def shots(facts, settings, options):
        first, *others = facts.shown
        return {"mixed": [first, replace(first, camera=first.camera.resized(12, 16)), *others]}

    model = tmp_path / "model"
    shutil.copytree(unbroken, model)
    monkeypatch.setattr("render.asked", shots)
    for _ in range(2):
        flags = ["--skip_train", "--skip_test", "--skip_val", "--skip_video", "--quiet"]
        render_model(*parse_render_args(["-m", str(model), *flags]))
    (out,) = (model / "mixed").iterdir()
    assert sorted(path.name for path in out.glob("*.mp4")) == [
        "video_rgb.mp4",
        "video_rgb_12x16.mp4",
    ]
    counts = {path.name: len(iio.mimread(path)) for path in out.glob("*.mp4")}
    n = len(list((out / "renders").iterdir()))
    assert counts == {"video_rgb.mp4": n - 1, "video_rgb_12x16.mp4": 1}
