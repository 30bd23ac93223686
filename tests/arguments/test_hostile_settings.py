"""Settings that nothing can run with, from flags, config files and a stranger's config.json."""

import json
from pathlib import Path

import pytest

from arguments import load_settings, parse_render_args, parse_train_args
from tests.border import refused_cheaply
from utils.errors import InputError

FLAGS = {
    ("--resolution", "100000"): "resolution is 100000, expected -1 or from 1 to 16384",
    ("-r", "99999999999"): "resolution is 99999999999",
    ("-r", "9" * 400): "resolution is 999.*expected one of at most 64 bits",
    ("--iterations", "9" * 5_000): "iterations is '999.*expected int",
    ("--lambda_l2", "9" * 400): "lambda_l2 is .*expected float",
    ("--position_lr_init", "1e10"): r"position_lr_init is 1.*expected from 0 to 10",
    ("--opacity_lr", "1e30"): r"opacity_lr is 1e\+30, expected from 0 to 10",
    ("--opacity_lr", "-1"): "opacity_lr is -1.0, expected from 0 to 10",
    ("--percent_dense", "-1"): "percent_dense is -1.0, expected at least 0",
    ("--multires",): "multires is empty, expected at least one",
    ("--multires", "1000000000"): "multires is 1000000000, expected from 1 to 256",
    ("--defor_depth", "1000000000"): "defor_depth is 1000000000, expected from 0 to 64",
    ("--kplanes_config", '{"resolution": []}'): r"resolution has 0 entries, expected 4",
    ("--kplanes_config", '{"resolution": [1, 1, 1, 1000000000]}'): "expected from 1 to 4096",
    ("--kplanes_config", "[" * 100_000): "kplanes_config is '.*expected a dict",
    ("--expname", "x" * 5_000): "expname is 'xx.*expected at most 4,096 letters",
}


@pytest.mark.parametrize("flags", FLAGS, ids=lambda flags: " ".join(flags)[:40])
def test_a_flag_that_nothing_can_run_with_is_one_line(flags):
    refused_cheaply(lambda: parse_train_args(["-s", "data", *flags]), FLAGS[flags], 0)


CONFIGS = {
    "nested": '{"ModelParams": ' + "[" * 100_000,
    "nested within what JSON can": '{"ModelParams": ' + "[" * 300 + "]" * 300 + "}",
    "400 digits": '{"OptimizationParams": {"lambda_l2": ' + "9" * 400 + "}}",
    "not a number": '{"OptimizationParams": {"lambda_l2": NaN}}',
    "resolution": '{"ModelParams": {"resolution": 1e30}}',
    "multires": '{"ModelHiddenParams": {"multires": [1000000000]}}',
    "no planes": '{"ModelHiddenParams": {"kplanes_config": {"resolution": []}}}',
    "list for text": '{"ModelParams": {"source_path": ["a"]}}',
    "NUL": '{"ModelParams": {"source_path": "a\\u0000b"}}',
    "half a character": '{"ModelParams": {"source_path": "\\ud800"}}',
    "text of 5,000 letters": '{"RunParams": {"expname": "' + "x" * 5_000 + '"}}',
    "section is a list": '{"OptimizationParams": [1, 2]}',
    "method is a dict": '{"method": {"a": 1}}',
    "dataset of ours that is no reader": '{"dataset": "_entry"}',
    "a long name": '{"' + "x" * 100_000 + '": 1}',
    "a list": "[1]",
    "a base": '{"_base_": "other.py"}',
    "not JSON": "\x00\xff",
    "too large": " " * 5_000_000 + "{}",
}


@pytest.mark.parametrize("case", CONFIGS)
@pytest.mark.parametrize("command", ["train", "render"])
def test_a_strangers_config_json_is_one_line(tmp_path, case, command):
    file = tmp_path / "config.json"
    file.write_text(CONFIGS[case], encoding="latin-1")
    calls = {
        "train": lambda: load_settings(file),
        "render": lambda: parse_render_args(["-m", str(tmp_path)]),
    }
    if (case, command) == ("text of 5,000 letters", "render"):
        calls["render"]()  # how a run was run is not taken over
        return
    line = refused_cheaply(calls[command], r"config\.json", len(CONFIGS[case]))
    assert "did you mean '_base_'" not in line


def test_what_to_render_is_not_taken_from_a_strangers_config(tmp_path):
    stranger = {"RenderParams": {"drive": "/etc", "drive_dataset": "os", "video_only": True}}
    (tmp_path / "config.json").write_text(json.dumps(stranger))
    _, params = parse_render_args(["-m", str(tmp_path)])
    assert (params.drive, params.drive_dataset, params.video_only) == ("", "auto", False)


@pytest.mark.parametrize("name", ["os", "_entry", "../render", ""])
def test_the_reader_of_a_driver_is_one_of_the_readers(tmp_path, name):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=f"drive_dataset: unknown dataset '{name}'"):
        parse_render_args(["-m", str(tmp_path), "--drive_dataset", name])


def test_a_config_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "secret.json").write_text("{}")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(InputError, match=r"config\.json: it is a link"):
        parse_render_args(["-m", str(tmp_path / "model")])


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/stdin", "."])
def test_only_a_file_is_read_as_a_config(path):
    said = "cannot read this config file"
    refused_cheaply(lambda: parse_train_args(["-s", "data", "--configs", path]), said, 0)


def test_a_config_file_without_end_is_refused(tmp_path):
    (tmp_path / "c.py").write_bytes(b"#" * 2**21)
    with pytest.raises(InputError, match=r"cannot read this config file.*expected at most"):
        parse_train_args(["-s", "data", "--configs", str(tmp_path / "c.py")])


def test_home_is_expanded_in_every_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "c.py").write_text("ModelParams = dict(source_path='~/scene')\n")
    paths = ["--configs=~/c.py", "--model_path=~/out", "--start_checkpoint=~/a", "--head_model=~/h"]
    settings = parse_train_args([*paths, "--dataset", "imavatar"])
    assert Path(settings.model.source_path) == tmp_path / "scene"
    assert Path(settings.model.model_path) == tmp_path / "out"
    assert Path(settings.run.start_checkpoint) == tmp_path / "a"
    assert Path(settings.data.head_model) == tmp_path / "h"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").write_text("{}")
    rendered, params = parse_render_args(["-m", "~/out", "--drive=~/d", "--reenact=~/r"])
    assert Path(rendered.model.model_path) == tmp_path / "out"
    assert (params.drive, params.reenact) == (f"{tmp_path}/d", f"{tmp_path}/r")
