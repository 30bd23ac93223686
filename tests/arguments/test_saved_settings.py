"""config.json: a round trip, and what another or a broken one answers."""

from __future__ import annotations

import dataclasses
import json

import pytest

from arguments import differences, load_settings, parse_train_args, save_settings
from utils.errors import InputError


def train(*argv: str):
    return parse_train_args(["-s", "data/dnerf/lego", *argv])


def test_settings_survive_the_round_trip(tmp_path):
    settings = train("--configs", "arguments/dnerf/lego.py", "--grid_lr_final", "1.2345678901e-7")
    save_settings(settings, tmp_path / "config.json")
    assert load_settings(tmp_path / "config.json") == settings
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_setting_missing_from_the_file_has_its_default(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"ModelParams": {"source_path": "x"}}))
    settings = load_settings(path)
    assert (settings.method, settings.model.source_path) == ("fourdgs", "x")
    assert settings.optim.iterations == 30_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"ModelParams": {"evel": true}}', "has no setting 'evel'"),
        ('{"ModelParams": {"eval": 1}}', "eval is 1"),
        ('{"ModelParams": {"ev', "JSON"),
        ("[1]", "holds no settings"),
        ('{"method": "nope"}', "unknown method 'nope'"),
    ],
)
def test_a_broken_file_is_named(tmp_path, text, message):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_settings(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_only_settings_that_change_the_result_are_differences():
    flags = ("--iterations", "5", "--seed", "1", "--no-white_background", "--multires", "1")
    one = train(*flags, "--antialiased")
    other = train("--port", "1", "--quiet", "--save_iterations", "1", "-m", "x", "--cache_mb", "9")
    names = {"iterations", "seed", "white_background", "multires", "antialiased"}
    assert set(differences(one, other)) == names
    assert differences(train(), train("--port", "1", "--debug", "--expname", "y")) == []


def test_two_spellings_of_one_folder_are_no_difference():
    assert differences(train(), parse_train_args(["-s", "./data/dnerf/lego/"])) == []
    assert differences(train(), parse_train_args(["-s", "data/dnerf/hook"])) == ["source_path"]


def test_another_method_is_one_difference():
    one = train()
    assert differences(one, dataclasses.replace(one, method="other", hidden=None)) == ["method"]
