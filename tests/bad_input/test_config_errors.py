"""What is wrong with a setting is said before anything is written, whatever the method."""

from dataclasses import fields
from importlib import import_module

import pytest

from tests.methods import METHODS, TWO
from utils.errors import InputError


@pytest.fixture
def train_refused(refused, training, tmp_path):
    """train.py with wrong settings: one line, and no output folder."""

    def call(*more):
        line = refused(*training(tmp_path / "out"), *more)
        assert not (tmp_path / "out").exists()
        return line

    return call


CONFIGS = {
    "unknown key": ("OptimizationParams = dict(iteratoins=5)", "did you mean 'iterations'?"),
    "unknown section": (
        "OptimisationParams = dict(iterations=5)",
        "did you mean 'OptimizationParams'?",
    ),
    "wrong type": (
        "OptimizationParams = dict(iterations='many')",
        "iterations is 'many' (str), expected int",
    ),
    "out of range": ("ModelParams = dict(sh_degree=7)", "sh_degree is 7, expected from 0 to 3"),
    "syntax error": (
        "OptimizationParams = dict(\n  iterations=",
        ", line 1: not valid Python: '(' was never",
    ),
    "error inside": ("a = 1\nb = c", ", line 2: NameError: name 'c' is not defined"),
    "missing base": ("_base_ = 'gone.py'", "gone.py: cannot read this config file, the _base_ of"),
}


@pytest.mark.methods("fourdgs")
@pytest.mark.parametrize("broken", CONFIGS)
def test_a_broken_config_names_file_finding_and_remedy(broken, tmp_path, train_refused):
    text, words = CONFIGS[broken]
    (tmp_path / "config.py").write_text(text)
    line = train_refused("--configs", str(tmp_path / "config.py"))
    assert words in line
    assert "config.py" in line


@pytest.mark.methods("fourdgs")
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--iteratoins", "5"), "--iterations"),
        (("--iterations", "many"), "iterations is 'many', expected int"),
        (("--device", "tpu"), "--device tpu"),
        (("--start_checkpoint", "gone"), "gone/state.json: no such file; a checkpoint"),
    ],
)
def test_a_bad_flag_is_named(flags, words, train_refused):
    assert words in train_refused(*flags)


def own_settings(method):
    """Names of the settings of a method's model, and of those that it accepts without effect."""
    params = import_module(f"scene.methods.{method}").ModelHiddenParams
    return {field.name for field in fields(params)} | set(getattr(params, "without_effect", {}))


def test_a_setting_that_only_other_methods_have_is_refused_by_name(case, tmp_path, train_refused):
    for other in set(METHODS) - {case.method}:
        name = min(own_settings(other) - own_settings(case.method))
        assert f"--{name}" in train_refused(f"--{name}", "1")
        (tmp_path / "config.py").write_text(f"ModelHiddenParams = dict({name}=1)")
        line = train_refused("--configs", str(tmp_path / "config.py"))
        assert "config.py" in line
        assert repr(name) in line


@pytest.mark.long
@pytest.mark.methods(*TWO)
@pytest.mark.parametrize("program", ["train.py", "render.py"])
def test_debug_in_a_config_keeps_the_traceback(program, run, model, tmp_path):
    (tmp_path / "config.py").write_text("RunParams = dict(debug=True)\n")
    given = ["-m", model, "-s", tmp_path / "gone", "--configs", tmp_path / "config.py"]
    given += ["--skip_video"] * (program == "render.py")
    with pytest.raises(InputError, match=r"there is no such folder|the dataset is not there"):
        run(program, *given)
