"""`--help` says without the libraries what it says with them; whoever runs gets the libraries."""

import subprocess
import sys

import pytest

from arguments import parse_model_args, parse_render_args, parse_train_args
from arguments.settings import ExportParams, ViewParams
from tests.methods import ROOT
from utils.stand_ins import only_help

PARSE = {
    "train.py": parse_train_args,
    "render.py": parse_render_args,
    "view.py": lambda argv: parse_model_args("view.py", ViewParams, argv),
    "export.py": lambda argv: parse_model_args("export.py", ExportParams, argv),
}


@pytest.mark.parametrize("command", PARSE)
def test_help_is_the_same_without_the_libraries(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        PARSE[command](["--help"])
    timed = [sys.executable, "-X", "importtime", command, "--help"]
    found = subprocess.run(timed, cwd=ROOT, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, capsys.readouterr().out)
    assert "torch._C" not in found.stderr  # what the library itself imports first


@pytest.mark.parametrize("method", ["gaussianhead", "monogaussian"])
def test_help_for_a_method_is_its_own(method, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        parse_train_args(["--method", method, "--help"])
    command = [sys.executable, "train.py", "--method", method, "--help"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.stdout == capsys.readouterr().out


def test_help_for_a_folder_takes_the_libraries():
    assert only_help(["--help"])
    assert only_help(["--method", "fourdgs", "-h"])
    assert not only_help(["--help", "-s", "data"])
    assert not only_help(["--help", "--model_path=output/x"])
    assert not only_help(["-s", "data"])
