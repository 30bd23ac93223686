"""Every command of docs/coming-from.md parses, and what it renders was trained on the page."""

import re
import shlex
import sys

import pytest

import metrics
from arguments import parse_render_args, parse_train_args, save_settings
from scripts import compare, make_anchors
from tests.methods import ROOT

PAGE = (ROOT / "docs" / "coming-from.md").read_text()
ROWS = [row.split(" | ") for row in PAGE.splitlines() if row.startswith("| ") and "---" not in row]
COMMANDS = [
    shlex.split(command)[1:]
    for row in ROWS
    for command in re.findall(r"`(python [^`]*)`", " | ".join(row[1:]))
]
TRAINED = [command for command in COMMANDS if command[0] == "train.py"]


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """The configs of every model that the page trains, below a folder of their own."""
    for command in TRAINED:
        settings = parse_train_args(command[1:])
        out = tmp_path / settings.model.model_path
        out.mkdir(parents=True, exist_ok=True)
        save_settings(settings, out / "config.json")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_is_read():
    assert len(TRAINED) > 9
    assert {command[0] for command in COMMANDS} == {
        "train.py", "render.py", "metrics.py", "scripts/compare.py", "scripts/make_anchors.py",
    }  # fmt: skip


@pytest.mark.parametrize("command", TRAINED, ids=" ".join)
def test_a_command_that_trains_parses(command):
    settings = parse_train_args(command[1:])
    assert settings.model.source_path
    assert settings.model.model_path.startswith("output/")


def test_commands_that_render_parse(trained):
    shown = [command for command in COMMANDS if command[0] == "render.py"]
    assert len(shown) > 6
    for command in shown:
        settings, _ = parse_render_args(command[1:])
        assert (trained / settings.model.model_path / "config.json").is_file()


@pytest.mark.parametrize(
    ("program", "module", "entry"),
    [
        ("metrics.py", metrics, "run"),
        ("scripts/compare.py", compare, "compare"),
        ("scripts/make_anchors.py", make_anchors, "make"),
    ],
)
def test_commands_that_score_or_make_parse(program, module, entry, monkeypatch):
    scored, seen = [command for command in COMMANDS if command[0] == program], []
    monkeypatch.setattr(module, entry, lambda args, *more: seen.append(args))
    for command in scored:
        monkeypatch.setattr(sys, "argv", command)
        module.main()
    assert len(seen) == len(scored) > 0


def test_a_row_without_a_command_says_why():
    for row in ROWS:
        if "`" in row[0] and len(row) == 3 and "`" not in row[1]:
            assert len(row[2].strip(" |")) > 10, row
