"""Every kind of bad input stops the real commands with one line on stderr, exit code 2, and nothing half
written. Commands run as `__main__` in this process; a few cases start a process of their own."""

import errno
import json
import math
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from scene.stage import Loss
from tests.tiny_scene import write_tiny_scene
from utils.errors import InputError
from utils.ply import read_gaussians

ROOT = Path(__file__).parents[1]
SHORT = "--coarse_iterations 4 --iterations 8 --checkpoint_every 3 --multires 1 --init_points 50 --quiet"
SHORT = SHORT.split()


@pytest.fixture(scope="module")
def clean_scene(tmp_path_factory):
    return write_tiny_scene(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture
def scene(clean_scene, tmp_path):
    """A copy that a test may break."""
    return Path(shutil.copytree(clean_scene, tmp_path / "scene"))


@pytest.fixture(scope="module")
def trained(clean_scene, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    process = subprocess.run(
        [sys.executable, "train.py", "-s", str(clean_scene), "-m", str(out), *SHORT],
        cwd=ROOT, capture_output=True, text=True,
    )
    assert process.returncode == 0, process.stderr
    return out


@pytest.fixture
def model(trained, tmp_path):
    """A copy of a finished run that a test may break."""
    return Path(shutil.copytree(trained, tmp_path / "model"))


@pytest.fixture
def run(monkeypatch, capfd):
    """Run a command as its users do; returns exit code and what it wrote to stderr."""

    def call(program, *argv):
        monkeypatch.setattr(sys, "argv", [program, *map(str, argv)])
        capfd.readouterr()
        try:
            runpy.run_path(str(ROOT / program), run_name="__main__")
            code = 0
        except SystemExit as stop:
            code = stop.code
        return code, capfd.readouterr().err

    return call


@pytest.fixture
def refused(run):
    """Run a command that must fail in the promised way; returns its one line."""

    def call(program, *argv):
        code, errors = run(program, *argv)
        assert code == 2, errors
        (line,) = errors.strip().splitlines()
        assert line.startswith("error: ")
        return line

    return call


@pytest.fixture
def train_refused(refused, scene, tmp_path):
    """train.py on the broken scene: one line, and no output folder."""

    def call(*more):
        line = refused("train.py", "-s", scene, "-m", tmp_path / "out", *SHORT, *more)
        assert not (tmp_path / "out").exists()
        return line

    return call


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edit(scene, change, split="train"):
    file = scene / f"transforms_{split}.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def frame_2(**values):
    return lambda content: content["frames"][2].update(values)


def cut(file, keep=0.5):
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)])


def poisoned_pose(content):
    content["frames"][2]["transform_matrix"][1][3] = math.nan


def singular_pose(content):
    content["frames"][2]["transform_matrix"][1] = [0.0, 0.0, 0.0, 0.0]


POINTS = "ply\nformat ascii 1.0\nelement vertex {n}\n{columns}end_header\n{rows}"
XYZ = "".join(f"property float {name}\n" for name in "xyz")
COLORS = "".join(f"property uchar {name}\n" for name in ("red", "green", "blue"))


def write_points(scene, rows, columns=XYZ + COLORS):
    (scene / "fused.ply").write_text(POINTS.format(n=len(rows), columns=columns, rows="".join(rows)))


# What is wrong: how to make it so, words of the message in their order.
BROKEN_SCENES = {
    "missing image": (lambda s: (s / "train/r_002.png").unlink(), "r_002.png: no such picture; put it there"),
    "corrupt image": (lambda s: (s / "train/r_002.png").write_bytes(b"no"), "r_002.png: not a whole PNG"),
    "cut image": (lambda s: cut(s / "train/r_002.png"), "r_002.png: the picture is damaged or cut"),
    "cut test image": (lambda s: cut(s / "test/r_001.png"), "test/r_001.png: the picture is damaged or cut"),
    "cut JSON": (lambda s: cut(s / "transforms_train.json"), "transforms_train.json: cannot be read as JSON"),
    "no JSON": (lambda s: (s / "transforms_train.json").unlink(), "no family of datasets recognised. Looked for.*dnerf: transforms_train.json"),
    "no pose": (
        lambda s: edit(s, lambda c: c["frames"][2].pop("transform_matrix")),
        "transforms_train.json: frame 2 (./train/r_002) has no 'transform_matrix'; expected",
    ),
    "pose of words": (lambda s: edit(s, frame_2(transform_matrix="up")), "frame 2 .* is not a 4x4 matrix"),
    "singular pose": (lambda s: edit(s, singular_pose), "frame 2 .*singular.*mend or remove"),
    "NaN in a pose": (lambda s: edit(s, poisoned_pose), "frame 2 .*NaN.*mend or remove"),
    "NaN time": (lambda s: edit(s, frame_2(time=math.nan)), "frame 2 .*'time' is nan; expected"),
    "nameless frame": (lambda s: edit(s, frame_2(file_path=7)), "frame 2.*'file_path' is 7; expected a text"),
    "size": (lambda s: edit(s, frame_2(w=48, h=24)), "r_002.*24x24 but its camera says 48x24; resize"),
    "size of words": (lambda s: edit(s, frame_2(w="wide")), "r_002.*'w' is 'wide'; expected a number"),
    "center of words": (lambda s: edit(s, frame_2(cx="mid")), "r_002.*'cx' is 'mid'; expected a number"),
    "empty test split": (
        lambda s: edit(s, lambda c: c["frames"].clear(), "test"),
        "transforms_test.json: it lists no frames; at least one",
    ),
    "list for scene": (lambda s: (s / "transforms_train.json").write_text("[]"), "expected an object"),
    "cut points": (lambda s: (s / "fused.ply").write_text("ply\nformat"), "fused.ply: not a readable PLY"),
    "no points": (lambda s: write_points(s, []), "fused.ply: it holds no points"),
    "NaN points": (lambda s: write_points(s, ["0 0 nan 9 9 9\n"] * 9), "9 of its 9 points are not finite"),
    "grey points": (lambda s: write_points(s, ["0 0 0\n"], XYZ), "fused.ply: .* lack red, green, blue"),
}


@pytest.mark.parametrize("case", BROKEN_SCENES)
def test_a_broken_scene_is_named_before_anything_is_written(case, scene, train_refused):
    breaks, words = BROKEN_SCENES[case]
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
    assert f"{scene}: there is no such folder; name the scene's folder with -s" in train_refused()


CONFIGS = {
    "unknown key": ("OptimizationParams = dict(iteratoins=5)", "did you mean 'iterations'?"),
    "unknown section": ("OptimisationParams = dict(iterations=5)", "did you mean 'OptimizationParams'?"),
    "wrong type": ("OptimizationParams = dict(iterations='many')", "iterations is 'many' (str), expected int"),
    "out of range": ("ModelParams = dict(sh_degree=7)", "sh_degree is 7, expected from 0 to 3"),
    "syntax error": ("OptimizationParams = dict(\n  iterations=", ", line 1: not valid Python: '(' was never"),
    "error inside": ("a = 1\nb = c", ", line 2: NameError: name 'c' is not defined"),
    "missing base": ("_base_ = 'gone.py'", "gone.py: cannot read this config file, the _base_ of"),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_broken_config_names_file_finding_and_remedy(case, tmp_path, train_refused):
    text, words = CONFIGS[case]
    (tmp_path / "config.py").write_text(text)
    line = train_refused("--configs", str(tmp_path / "config.py"))
    assert words in line
    assert "config.py" in line


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--iteratoins", "5"), "--iterations"),
        (("--iterations", "many"), "iterations is 'many', expected int"),
        (("--device", "tpu"), "--device tpu"),
        (("--start_checkpoint", "gone"), "gone/state.json: cannot be read"),
    ],
)
def test_a_bad_flag_is_named(flags, words, train_refused):
    assert words in train_refused(*flags)


def test_a_process_fails_with_code_2_and_one_line_and_debug_shows_the_traceback(scene, tmp_path):
    cut(scene / "transforms_train.json")
    argv = [sys.executable, "train.py", "-s", str(scene), "-m", str(tmp_path / "out"), *SHORT]
    short, long = (
        subprocess.run([*argv, *more], cwd=ROOT, capture_output=True, text=True) for more in ((), ("--debug",))
    )
    assert short.returncode == 2
    assert len(short.stderr.splitlines()) == 1
    assert short.stdout == ""
    assert "Traceback" in long.stderr
    assert long.stderr.splitlines()[-1].endswith(short.stderr.removeprefix("error: ").strip())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("program", ["render.py", "metrics.py"])
def test_a_folder_without_a_model_is_one_line_of_a_process(program, tmp_path):
    process = subprocess.run(
        [sys.executable, program, "-m", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert process.returncode == 2
    (line,) = process.stderr.splitlines()
    assert str(tmp_path) in line
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_under_a_file_is_refused(refused, scene, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        line = refused("train.py", "-s", scene, "-m", out, *SHORT)
        assert f"{out}: the output folder cannot be written" in line
        assert "choose another with -m" in line
    assert (tmp_path / "file").read_text() == "in the way"


def test_an_output_folder_without_permission_is_refused(refused, clean_scene, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    line = refused("train.py", "-s", clean_scene, "-m", tmp_path, *SHORT)
    assert f"{tmp_path}: the output folder cannot be written (no permission)" in line
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_of_a_sheet_is_named(refused, scene, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sheets").write_text("in the way")
    assert "out/sheets: the folder cannot be made" in refused(
        "train.py", "-s", scene, "-m", tmp_path / "out", *SHORT
    )


class FullAfter:
    """A `save_file` on a disk that is full from the given call on, leaving a part of the file."""

    def __init__(self, calls):
        self.left = calls

    def __call__(self, tensors, file):
        self.left -= 1
        if self.left < 0:
            Path(file).write_bytes(b"cut")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save_file(tensors, file)


@pytest.mark.parametrize("calls", [0, 1, 2, 3, 5, 6])
def test_a_full_disk_keeps_the_last_checkpoint_and_the_run_goes_on(
    calls, refused, run, clean_scene, trained, tmp_path, monkeypatch
):
    argv = ["train.py", "-s", clean_scene, "-m", tmp_path / "out", *SHORT]
    monkeypatch.setattr("utils.checkpoint.save_file", FullAfter(calls))
    line = refused(*argv)
    assert "the disk is full; make room" in line
    assert not list(tmp_path.rglob("*.part"))
    for file in tmp_path.rglob("*.safetensors"):
        load_file(file)
    monkeypatch.setattr("utils.checkpoint.save_file", save_file)
    assert run(*argv)[0] == 0
    name = "point_cloud/iteration_8/model.safetensors"
    assert (tmp_path / "out" / name).read_bytes() == (trained / name).read_bytes()


def test_a_really_full_disk_is_one_line(refused, clean_scene, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        line = refused("train.py", "-s", clean_scene, "-m", disk / "out", *SHORT)
        assert "the disk is full; make room" in line
        assert not list(disk.rglob("*.part"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_read_only_disk_is_one_line(refused, clean_scene, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,ro", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        for out in (disk, disk / "out"):
            assert "cannot be written" in refused("train.py", "-s", clean_scene, "-m", out, *SHORT)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_under_the_log_is_one_line(refused, clean_scene, tmp_path, monkeypatch):
    def full(path, text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("utils.logger.append_text", full)
    line = refused("train.py", "-s", clean_scene, "-m", tmp_path / "out", *SHORT)
    assert "log.jsonl: No space left on device; check free space" in line


# --- model folders


def model_file(model):
    return model / "point_cloud/iteration_8/model.safetensors"


def render_refused(refused, model, *more):
    before = files(model)
    line = refused("render.py", "--model_path", model, "--quiet", *more)
    assert files(model) == before
    assert str(model) in line
    return line


def test_a_truncated_model_is_named(refused, model):
    cut(model_file(model))
    line = render_refused(refused, model)
    assert "iteration_8/model.safetensors: not a whole safetensors file" in line
    assert "delete the folder it is in and run the command of train.py again" in line


def test_the_remedy_for_a_truncated_model_works(run, clean_scene, trained, model):
    shutil.rmtree(model_file(model).parent)
    assert run("train.py", "-s", clean_scene, "-m", model, *SHORT)[0] == 0
    assert model_file(model).read_bytes() == model_file(trained).read_bytes()


def test_a_folder_without_an_exported_model_is_named(refused, model):
    shutil.rmtree(model / "point_cloud")
    assert "no model in it (point_cloud/iteration_*/model.safetensors); train first" in render_refused(refused, model)


def test_an_iteration_that_is_not_there_lists_those_that_are(refused, model):
    assert "no model of iteration 7; there are 8" in render_refused(refused, model, "--iteration", "7")


def test_a_model_of_another_sh_degree_is_named(refused, model):
    line = render_refused(refused, model, "--sh_degree", "1")
    assert "model.safetensors: it does not fit" in line
    assert "sh_rest" in line


def test_a_ply_of_another_sh_degree_is_named(model):
    file = model / "point_cloud/iteration_8/point_cloud.ply"
    with pytest.raises(InputError, match=r"45 f_rest columns \(SH degree 3\), expected 9.*set sh_degree=3"):
        read_gaussians(file, sh_degree=1)


def test_a_cut_ply_is_named(model):
    file = model / "point_cloud/iteration_8/point_cloud.ply"
    cut(file)
    with pytest.raises(InputError, match=r"point_cloud\.ply: not a readable PLY"):
        read_gaussians(file, sh_degree=3)


def test_a_corrupt_config_json_is_named_by_every_command(refused, clean_scene, model):
    cut(model / "config.json")
    assert "config.json: cannot be read as JSON" in render_refused(refused, model)
    line = refused("train.py", "-s", clean_scene, "-m", model, *SHORT)
    assert "config.json: cannot be read as JSON" in line
    assert "--restart" in line


def test_a_missing_config_json_is_named_by_every_command(refused, clean_scene, model):
    (model / "config.json").unlink()
    assert "config.json: no such file" in render_refused(refused, model)
    assert "config.json: no such file" in refused("train.py", "-s", clean_scene, "-m", model, *SHORT)


def test_restart_needs_no_readable_config_json(run, clean_scene, trained, model):
    cut(model / "config.json")
    assert run("train.py", "-s", clean_scene, "-m", model, *SHORT, "--restart")[0] == 0
    assert model_file(model).read_bytes() == model_file(trained).read_bytes()


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"stage": "fine", "step": "x", "scene": "", "kept": false}'])
def test_a_broken_checkpoint_state_is_named(content, refused, clean_scene, model):
    (model / "checkpoints/fine_8/state.json").write_text(content)
    before = files(model)
    line = refused("train.py", "-s", clean_scene, "-m", model, *SHORT)
    assert "fine_8/state.json: not a checkpoint's state" in line
    assert "delete the folder it is in and run the same command again" in line
    assert files(model) == before


@pytest.mark.parametrize("name", ["model.safetensors", "optimizers.safetensors"])
def test_a_truncated_checkpoint_is_named(name, refused, clean_scene, model, tmp_path):
    cut(model / "checkpoints/fine_8" / name)
    begin = ("--start_checkpoint", model / "checkpoints/fine_8")
    line = refused("train.py", "-s", clean_scene, "-m", tmp_path / "out", *SHORT, *begin)
    assert f"fine_8/{name}: not a whole safetensors file" in line


# --- NaN


def poison(monkeypatch, change, at):
    """Let `change(method)` happen before step `at` of every stage."""
    from scene.methods.fourdgs import Method

    on_step = Method.on_step

    def poisoned(self, step):
        on_step(self, step)
        if step == at:
            with torch.no_grad():
                change(self)

    monkeypatch.setattr(Method, "on_step", poisoned)


def test_nan_in_training_stops_with_its_name_and_keeps_the_checkpoint(
    refused, clean_scene, tmp_path, monkeypatch
):
    from scene.methods.fourdgs import Method

    stages = Method.stages

    def with_bad_loss(self):
        bad = Loss("bad", lambda step: math.nan if step == 5 else 0.0, lambda renders, frames: renders[0].image.mean())
        for stage in (found := stages(self)):
            stage.losses.append(bad)
        return found

    monkeypatch.setattr(Method, "stages", with_bad_loss)
    line = refused("train.py", "-s", clean_scene, "-m", tmp_path / "out", *SHORT)
    assert "the loss at fine step 5 is not finite: the first bad tensor is bad (1 of 1 numbers)" in line
    assert "the last good checkpoint is kept" in line
    assert [path.name for path in (tmp_path / "out/checkpoints").iterdir()] == ["fine_3"]
    load_file(tmp_path / "out/checkpoints/fine_3/model.safetensors")


def test_a_huge_learning_rate_stops_with_the_parameter_s_name(refused, clean_scene, tmp_path):
    rates = ("--scaling_lr", "3e38", "--iterations", "30", "--checkpoint_every", "1")
    line = refused("train.py", "-s", clean_scene, "-m", tmp_path / "out", *SHORT, *rates)
    assert "is not finite: the first bad tensor is" in line
    for file in (tmp_path / "out").rglob("*.safetensors"):
        assert all(torch.isfinite(value).all() for value in load_file(file).values()), file


@pytest.mark.parametrize(("save", "found"), [("3", 3), ("15", 10)])
def test_nan_that_the_picture_hides_is_found_before_it_is_saved(
    save, found, refused, clean_scene, tmp_path, monkeypatch
):
    """The rasterizer skips a row whose place is NaN, so the loss stays finite."""
    poison(monkeypatch, lambda method: method.table.columns["means"][3].fill_(math.nan), at=2)
    longer = ("--coarse_iterations", "15", "--iterations", "15", "--checkpoint_every", "12", "--save_iterations", save)
    line = refused("train.py", "-s", clean_scene, "-m", tmp_path / "out", *SHORT, *longer)
    assert f"the model after coarse step {found} is not finite" in line
    assert "table.columns.means (3 of 150 numbers)" in line
    assert not list(tmp_path.rglob("*.safetensors"))


# --- one folder, several runs


def test_a_finished_run_says_so_and_stays_as_it_is(clean_scene, model):
    before = files(model)
    loud = [flag for flag in SHORT if flag != "--quiet"]
    process = subprocess.run(
        [sys.executable, "train.py", "-s", str(clean_scene), "-m", str(model), *loud],
        cwd=ROOT, capture_output=True, text=True,
    )
    assert process.returncode == 0
    assert "this run is finished; --restart begins it anew" in process.stdout
    assert files(model) == before


def test_more_iterations_for_a_finished_run_are_refused_with_the_way_to_get_them(
    refused, run, clean_scene, model, tmp_path
):
    more = ("--iterations", "12")
    line = refused("train.py", "-s", clean_scene, "-m", model, *SHORT, *more)
    assert "other settings (iterations)" in line
    assert "--start_checkpoint begins there from a checkpoint of this run" in line
    begin = ("--start_checkpoint", model / "checkpoints/fine_8")
    assert run("train.py", "-s", clean_scene, "-m", tmp_path / "out", *SHORT, *more, *begin)[0] == 0
    assert (tmp_path / "out/point_cloud/iteration_12/model.safetensors").is_file()


def test_fewer_iterations_than_the_checkpoint_s_are_refused(refused, clean_scene, model, tmp_path):
    begin = ("--start_checkpoint", model / "checkpoints/fine_8", "--iterations", "5")
    line = refused("train.py", "-s", clean_scene, "-m", tmp_path / "out", *SHORT, *begin)
    assert "fine_8: it is beyond the 5 steps of stage 'fine'" in line


def test_two_runs_in_one_folder_are_refused(refused, clean_scene, tmp_path):
    from arguments import parse_train_args
    from utils.run import open_model_folder

    argv = ["-s", str(clean_scene), "-m", str(tmp_path / "out"), *SHORT]
    with open_model_folder(parse_train_args(argv)):
        assert "out: another run is writing there; wait for it" in refused("train.py", *argv)
        assert "another run" in refused("train.py", *argv, "--restart")


def test_a_checkpoint_of_other_sizes_is_refused(refused, clean_scene, model, tmp_path):
    begin = ("--start_checkpoint", model / "checkpoints/fine_8", "--net_width", "32")
    line = refused("train.py", "-s", clean_scene, "-m", tmp_path / "out", *SHORT, *begin)
    assert "fine_8/model.safetensors: it does not fit this method and its settings" in line


def test_a_checkpoint_of_another_method_s_stage_is_refused(refused, clean_scene, model, tmp_path):
    state = model / "checkpoints/fine_8/state.json"
    state.write_text(state.read_text().replace('"fine"', '"points"'))
    begin = ("--start_checkpoint", state.parent)
    line = refused("train.py", "-s", clean_scene, "-m", tmp_path / "out", *SHORT, *begin)
    assert "it belongs to stage 'points', this method has coarse, fine" in line


def test_a_scene_that_changed_under_an_unfinished_run_is_refused(refused, scene, tmp_path, run):
    argv = ["train.py", "-s", scene, "-m", tmp_path / "out", *SHORT]
    assert run(*argv)[0] == 0
    edit(scene, lambda content: content["frames"].pop())
    line = refused(*argv)
    assert "the pictures or times of the scene changed" in line
    assert "--restart" in line
    assert run(*argv, "--restart")[0] == 0


def test_a_start_checkpoint_in_a_folder_with_another_run_is_refused(refused, clean_scene, trained, model):
    line = refused(
        "train.py", "-s", clean_scene, "-m", model, *SHORT, "--start_checkpoint", trained / "checkpoints/fine_8"
    )
    assert "leave --start_checkpoint out to go on with it" in line
    line = refused(
        "train.py", "-s", clean_scene, "-m", model, *SHORT, "--restart",
        "--start_checkpoint", model / "checkpoints/fine_8",
    )
    assert "--restart would remove it" in line
    assert model_file(model).is_file()


def test_metrics_name_a_damaged_render(refused, run, model):
    assert run("render.py", "--model_path", model, "--quiet", "--skip_train", "--skip_video")[0] == 0
    cut(model / "test/ours_8/renders/00001.png")
    line = refused("metrics.py", "-m", model, "--quiet", "--skip_lpips")
    assert "renders/00001.png: the picture is damaged or cut short" in line
    assert not (model / "results.json").exists()
