"""Config files: inheritance, merging, and what a broken file answers."""

from __future__ import annotations

import pytest

from arguments import read_config
from arguments.config_file import merge
from utils.errors import InputError


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def _write(**files: str) -> str:
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
        return f"{next(iter(files))}.py"

    return _write


def refused(path: str) -> str:
    with pytest.raises(InputError) as caught:
        read_config(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_plain_name_is_a_key_and_helpers_are_none(write):
    path = write(
        child="from __future__ import annotations\nimport os\nfrom pathlib import Path\n"
        "def double(x):\n    return 2 * x\n__t = double(30)\nA = dict(b=__t)\nc = [1]\n"
    )
    assert read_config(path).values == {"A": {"b": 60}, "c": [1]}


def test_a_child_wins_over_its_base_and_dicts_merge_deeply(write):
    path = write(
        child="_base_ = './base.py'\nA = dict(x=2, deep=dict(p=[9]))\n",
        base="A = dict(x=1, y=1, deep=dict(p=[1, 2], q=3))\nB = dict(z=1)\n",
    )
    config = read_config(path)
    assert config.values == {"A": {"x": 2, "y": 1, "deep": {"p": [9], "q": 3}}, "B": {"z": 1}}
    assert config.origin("A", "x") == "child.py"
    assert config.origin("A", "y") == "base.py"


def test_delete_replaces_a_dict_and_leaves_no_trace(write):
    path = write(
        child="_base_ = 'base.py'\nA = dict(_delete_=True, x=2, new=dict(_delete_=True, r=1))\n",
        base="A = dict(x=1, y=1)\n",
    )
    assert read_config(path).values == {"A": {"x": 2, "new": {"r": 1}}}


def test_merging_changes_neither_side():
    base, child = {"a": {"x": 1}}, {"a": {"_delete_": True, "y": 2}}
    assert merge(base, child, "") == {"a": {"y": 2}}
    assert (base, child) == ({"a": {"x": 1}}, {"a": {"_delete_": True, "y": 2}})


def test_bases_form_a_chain_and_a_list_relative_to_the_file(write, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.py").write_text("_base_ = ['../a.py', '../b.py']\n")
    write(a="_base_ = 'root.py'\nA = dict(x=1)\n", b="B = dict(y=2)\n", root="C = dict(z=3)\n")
    assert read_config("sub/c.py").values == {"A": {"x": 1}, "B": {"y": 2}, "C": {"z": 3}}


def test_two_bases_with_one_key_are_refused(write):
    path = write(child="_base_ = ['a.py', 'b.py']\n", a="A = dict(x=1)\n", b="A = dict(y=1)\n")
    assert refused(path).startswith("child.py: its bases a.py and b.py both define 'A'")


def test_a_dict_over_a_number_is_refused(write):
    path = write(child="_base_ = 'base.py'\nA = dict(x=dict(y=1))\n", base="A = dict(x=5)\n")
    assert refused(path).startswith("child.py: x is a dict, but its base has 5 there")


def test_a_base_that_leads_back_is_refused(write):
    path = write(a="_base_ = 'b.py'\n", b="_base_ = 'a.py'\n")
    assert "a.py -> b.py -> a.py" in refused(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A = dict(\nB = 1 +\n", "child.py, line "),
        ("A = 1\nB = {'x': 1/0}\n", "child.py, line 2: ZeroDivisionError: division by zero"),
        ("A = 1\nimport no_such_module\n", "child.py, line 2: ModuleNotFoundError"),
        ("def f():\n    return missing\n\nA = f()\n", "child.py, line 2: NameError"),
        ("raise SystemExit(3)\n", "child.py, line 1: SystemExit: 3"),
        ("_base_ = 5\n", "child.py: _base_ is 5, expected a path or a list of paths"),
        ("_base_ = 'none.py'\n", "none.py: cannot read this config file, the _base_ of child.py"),
    ],
)
def test_a_broken_file_is_named_with_its_line(write, text, message):
    assert refused(write(child=text)).startswith(message)


def test_a_syntax_error_names_its_line(write):
    assert refused(write(child="A = 1\nB = = 2\n")).startswith(
        "child.py, line 2: not valid Python: "
    )


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "no.py: cannot read this config file" in refused(str(tmp_path / "no.py"))
    assert "cannot read this config file" in refused(str(tmp_path))


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "bad.py").write_bytes(b"\x00\xff\x00")
    answer = refused(str(tmp_path / "bad.py"))
    assert answer.startswith(str(tmp_path / "bad.py"))
    assert "line None" not in answer
