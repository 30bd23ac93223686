"""What ends a command: one line and a code, whatever went wrong outside."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from utils.errors import run_command, shown

ROOT = Path(__file__).resolve().parents[2]


def fail(error):
    def main():
        raise error

    return main


def huge():
    return torch.empty(2**61, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("main", "said"),
    [
        (lambda: (Path("/tmp") / ("x" * 5_000)).is_dir(), "xxx...: File name too long; check the"),
        (lambda: (ROOT / "README.md" / "a").stat(), "Not a directory; check the path"),
        (fail(MemoryError()), "there is not enough memory (MemoryError); lower --max_gaussians"),
        (huge, "there is not enough memory"),
        (lambda: torch.empty(2**62, 2**62), "there is not enough memory"),
        (fail(OSError(errno.EIO, os.strerror(errno.EIO), "a.png")), "a.png: Input/output error"),
    ],
    ids=["long path", "file as folder", "memory", "torch", "overflow", "disk"],
)
def test_what_lies_outside_is_one_line_and_code_2(main, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        run_command(main, debug=False)
    (line,) = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2
    assert said in line
    assert len(line) < 700


def test_what_is_ours_keeps_its_traceback():
    with pytest.raises(RuntimeError, match="ours"):
        run_command(fail(RuntimeError("ours")), debug=False)


def test_a_value_in_a_message_has_a_bounded_length():
    nested = []
    for _ in range(5_000):
        nested = [nested]
    for value in (nested, "x" * 10**6, list(range(10**5)), dict.fromkeys(range(999), "y" * 500)):
        assert len(shown(value)) < 800
    assert shown("many") == "'many'"


def test_a_name_that_is_not_utf8_can_be_printed():
    code = (
        "import os; from utils.errors import InputError, run_command\n"
        "def main():\n"
        "    print(os.fsdecode(b'\\xff\\xfe'))\n"
        "    raise InputError(os.fsdecode(b'\\xff: bad'))\n"
        "run_command(main, debug=False)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, env={"PYTHONUTF8": "1"}
    )
    assert (run.stdout, run.stderr) == (b"\\udcff\\udcfe\n", b"error: \\udcff: bad\n")
    assert run.returncode == 2


def test_ctrl_c_while_the_rest_is_imported_is_one_line():
    code = "import utils.threads; raise KeyboardInterrupt"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert run.stderr == b"interrupted\n"
    assert run.returncode in (130, -2)
    code = "import utils.threads; 1 / 0"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert b"ZeroDivisionError" in run.stderr


@pytest.mark.parametrize(
    "error", ["MemoryError", "ImportError('libtorch.so: failed to map segment from shared object')"]
)
def test_too_little_memory_while_the_rest_is_imported_is_one_line(error):
    for flags in ([], ["--debug"]):
        command = [sys.executable, "-c", f"import utils.threads; raise {error}", *flags]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert ("Traceback" in run.stderr) == bool(flags)
    run = subprocess.run(command[:-1], cwd=ROOT, capture_output=True, text=True)
    (line,) = run.stderr.splitlines()
    assert line.startswith("error: there is not enough memory")
    assert run.returncode == 2


def test_a_limit_that_no_start_fits_in_is_one_line():
    code = (
        "import resource; limit = 600 * 2**20; "
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit)); import utils.threads, torch"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    (line,) = run.stderr.splitlines()
    assert line.startswith("error: there is not enough memory (ulimit -v allows less than the 700")
    assert run.returncode == 2
