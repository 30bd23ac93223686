"""What is wrong with a finished run is said by the commands that read it, which change nothing."""

import shutil
import subprocess
import sys

import pytest

from export import ply
from tests.bad_input.damage import cut, model_file
from tests.methods import ROOT, TWO
from utils.errors import InputError


def test_a_folder_without_a_model_is_one_line_of_a_process(tmp_path):
    command = [sys.executable, "render.py", "-m", str(tmp_path)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 2
    (line,) = process.stderr.splitlines()
    assert str(tmp_path) in line
    assert list(tmp_path.iterdir()) == []


def test_metrics_too_refuse_a_folder_without_a_model(refused, tmp_path):
    assert str(tmp_path) in refused("metrics.py", "-m", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.methods(*TWO)
def test_a_truncated_model_is_named(render_refused, model):
    cut(model_file(model))
    line = render_refused()
    assert "iteration_8/model.safetensors: cannot be read as a whole safetensors file" in line
    assert "delete the folder it is in and run the command of train.py again" in line


@pytest.mark.methods("fourdgs")
def test_a_folder_without_an_exported_model_is_named(render_refused, model):
    shutil.rmtree(model / "point_cloud")
    assert (
        "no model in it (point_cloud/iteration_*/model.safetensors); train first"
        in render_refused()
    )


@pytest.mark.methods("fourdgs")
def test_an_iteration_that_is_not_there_lists_those_that_are(render_refused, model):
    assert "no model of iteration 7; there are 8" in render_refused("--iteration", "7")


def test_a_model_of_another_sh_degree_is_named(render_refused, model):
    line = render_refused("--sh_degree", "1")
    assert "model.safetensors: it does not fit" in line
    assert "rest" in line  # the harmonics above degree 0, wherever the method keeps them


@pytest.mark.methods(*TWO)
def test_a_ply_of_another_sh_degree_is_named(model):
    file = model / "point_cloud/iteration_8/point_cloud.ply"
    with pytest.raises(
        InputError, match=r"45 f_rest columns \(SH degree 3\), expected 9.*set sh_degree=3"
    ):
        ply.read(file, sh_degree=1)


@pytest.mark.methods("fourdgs")
def test_a_cut_ply_is_named(model):
    file = model / "point_cloud/iteration_8/point_cloud.ply"
    cut(file)
    with pytest.raises(InputError, match=r"point_cloud\.ply: cannot be read as a PLY"):
        ply.read(file, sh_degree=3)


@pytest.mark.methods("fourdgs")
def test_metrics_name_a_damaged_render(refused, run, model):
    assert (
        run("render.py", "--model_path", model, "--quiet", "--skip_train", "--skip_video")[0] == 0
    )
    cut(model / "test/ours_8/renders/00001.png")
    line = refused("metrics.py", "-m", model, "--quiet", "--skip_lpips")
    assert "renders/00001.png: the picture is damaged or cut short" in line
    assert not (model / "results.json").exists()
