"""A command whose output nobody can take goes on to its end; Ctrl-C in its imports is one line."""

import os
import signal
import subprocess
import sys

import pytest

from tests.methods import ROOT
from utils.terminal import Patient

# A command that talks on both streams, much and little, and then does its work.
TALKS = """
from utils.terminal import begin_command, started
begin_command()
import sys
from pathlib import Path
from tqdm import tqdm
started()
for k in tqdm(range(20), mininterval=0):
    print(f"line {k} {'x' * 5000} \\udcff")
    tqdm.write("said")
print("an error", file=sys.stderr)
Path(sys.argv[1]).write_text("done")
"""


def test_garbage_is_not_looked_for_in_imports_nor_among_what_they_leave():
    script = (
        "from utils.terminal import begin_command, started; import gc; "
        "begin_command(); before = gc.isenabled(); started(); "
        "print(before, gc.isenabled(), gc.get_freeze_count() > 0)"
    )
    told = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert told.stdout.split() == ["False", "True", "True"]


@pytest.fixture
def broken_pipe():
    read, write = os.pipe()
    os.close(read)
    return write


def test_a_broken_pipe_takes_what_it_can_and_the_rest_is_dropped(broken_pipe):
    stream = Patient(os.fdopen(broken_pipe, "wb"), line_buffering=True)
    for _ in range(3):
        print("x" * 100_000, file=stream)
    stream.close()


def test_a_full_disk_is_no_error_even_when_the_stream_is_closed():
    stream = Patient(os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb"))
    stream.write("kept in the buffer until the end")
    stream.close()


def test_what_can_be_written_is_written(tmp_path):
    with open(tmp_path / "said", "wb") as file:
        print("\udcff and more", file=Patient(file, errors="backslashreplace"))
    assert (tmp_path / "said").read_text() == "\\udcff and more\n"


@pytest.mark.parametrize(
    "redirection", [">&-", "2>&-", ">&- 2>&- <&-", ">/dev/full 2>&1", "| true"]
)
def test_a_command_goes_on_without_anybody_to_hear_it(redirection, tmp_path):
    script = f'set -o pipefail; "$@" {redirection}'
    command = ["bash", "-c", script, "bash", sys.executable, "-c", TALKS, str(tmp_path / "file")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr
    assert (tmp_path / "file").read_text() == "done"


def test_a_command_goes_on_when_its_terminal_is_gone(tmp_path):
    ours, theirs = os.openpty()
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    command = [sys.executable, "-c", TALKS, str(tmp_path / "file")]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, **streams)
    os.close(theirs)
    os.close(ours)  # writing there is errno 5, an input/output error, from now on
    assert process.wait(60) == 0
    assert (tmp_path / "file").read_text() == "done"


def test_ctrl_c_while_a_command_is_imported_is_one_line_and_code_130():
    code = "import sys, time; from utils.terminal import begin_command; begin_command()\n"
    code += "print('ready'); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, b"interrupted\n")


COMMANDS = [
    "train.py", "render.py", "metrics.py", "scripts/make_report.py", "scripts/check_data.py",
]  # fmt: skip
WAITS = "print('ready', flush=True); import signal; signal.pause()"


@pytest.mark.parametrize("program", COMMANDS)
def test_ctrl_c_in_the_imports_of_a_command_leaves_no_traceback(program, tmp_path):
    for name in ("torch", "numpy"):  # in the place of what takes a second
        (tmp_path / f"{name}.py").write_text(WAITS)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    process = subprocess.Popen([sys.executable, program, "-m", "x"], cwd=ROOT, env=env, **streams)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, b"interrupted\n")
