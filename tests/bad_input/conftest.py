"""Every kind of bad input stops the real commands with one line on stderr, exit code 2, and nothing
half written. Commands run as `__main__` in this process; a few cases start a process of their own.

What may happen while a method trains, and to what it leaves, is tried with every method; what is
wrong with a folder of data, which no method reads, with one.
"""

import runpy
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from arguments import parse_train_args
from tests.bad_input.damage import SHORT, files
from tests.methods import ROOT
from train import train


class Outcome(NamedTuple):
    """Of a command."""

    code: int
    said: str  # on stdout
    errors: str  # on stderr


@pytest.fixture(scope="module")
def short(case):
    """Flags of the shortest run that passes through all parts of the method."""
    return [*case.flags(iterations=8, first=4), *SHORT]


@pytest.fixture(scope="module")
def training(tiny_folder, short):
    """The command of that run, as a function of its output folder."""
    return lambda out: ["train.py", "-s", str(tiny_folder), "-m", str(out), *short]


@pytest.fixture(scope="module")
def trained(training, tmp_path_factory):
    """A finished run, which tests must leave as it is."""
    out = tmp_path_factory.mktemp("trained") / "out"
    train(parse_train_args(training(out)[1:]))
    return out


@pytest.fixture
def model(trained, tmp_path):
    """A copy of a finished run that a test may break."""
    return Path(shutil.copytree(trained, tmp_path / "model"))


@pytest.fixture
def run(monkeypatch, capfd):
    """Run a command as its users do."""

    def call(program, *argv):
        monkeypatch.setattr(sys, "argv", [program, *map(str, argv)])
        capfd.readouterr()
        try:
            runpy.run_path(str(ROOT / program), run_name="__main__")
            code = 0
        except SystemExit as stop:
            code = stop.code
        return Outcome(code, *capfd.readouterr())

    return call


@pytest.fixture
def refused(run):
    """Run a command that must fail in the promised way; returns its one line."""

    def call(program, *argv):
        code, _, errors = run(program, *argv)
        assert code == 2, errors
        (line,) = errors.strip().splitlines()
        assert line.startswith("error: ")
        return line

    return call


@pytest.fixture
def render_refused(refused, model):
    """render.py on the broken run: one line that names it, and nothing changed."""

    def call(*more):
        before = files(model)
        line = refused("render.py", "--model_path", model, "--quiet", *more)
        assert files(model) == before
        assert str(model) in line
        return line

    return call
