"""The check of a GPU machine, on a machine without one: it says what it skipped and why."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from scripts import gpu_check, gpu_wheels

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU; the check itself runs on it")
def test_without_a_gpu_every_part_that_needs_one_is_skipped_with_the_reason(tmp_path):
    command = [
        "sh",
        "scripts/gpu_check.sh",
        "--out",
        str(tmp_path),
        "--only",
        "benchmarks",
        "training",
    ]
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    report = json.loads((tmp_path / "gpu_check.json").read_text())
    assert report["machine"]["torch"] == torch.__version__
    assert len(report["machine"]["why_not"]) > 20
    for part in report["parts"]:
        assert part["state"] == "skipped"
        assert part["said"] == report["machine"]["why_not"]
    assert done.stdout.count("skipped") == 2


def test_an_interpreter_without_torch_is_one_sentence(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    done = subprocess.run(
        ["sh", "scripts/gpu_check.sh"],
        cwd=ROOT,
        env={**os.environ, "PYTHON": str(python)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "has no torch" in line


def test_a_part_ends_at_its_limit_with_all_its_processes(tmp_path):
    sleep = "import time; time.sleep(60)"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {sleep!r}])"
    begin = time.monotonic()
    with (tmp_path / "log").open("w") as log:
        assert gpu_check.run_until(begin + 1, [sys.executable, "-c", script], log) == "stopped"
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize(
    ("script", "state"), [("print(3)", "passed"), ("raise SystemExit(3)", "failed")]
)
def test_a_part_is_told_by_its_exit_code(tmp_path, script, state):
    with (tmp_path / "log").open("w") as log:
        assert (
            gpu_check.run_until(time.monotonic() + 60, [sys.executable, "-c", script], log) == state
        )


def test_the_first_command_that_fails_ends_a_part_and_its_last_line_is_told(tmp_path):
    part = gpu_check.Part(
        "x", 60, [["-c", "print('one'); exit(4)"], ["-c", "print('two')"]], needs_gpu=False
    )
    gpu_check.run_part(part, {}, time.monotonic() + 60, tmp_path)
    assert (part.state, part.said) == ("failed", "one")


def test_what_is_missing_comes_with_the_command_that_fetches_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(
        gpu_wheels, "needed", lambda: dict.fromkeys(("numpy", "no-such-package"), "x==1")
    )
    monkeypatch.setenv("GPU_WHEELS", str(tmp_path))
    assert gpu_wheels.install_wheels() == ["no-such-package"]
    said = capsys.readouterr().out
    assert f"--python-version {sys.version_info[0]}.{sys.version_info[1]} 'x==1'" in said


def test_all_limits_fit_the_packages_named_and_torch_is_left_alone():
    assert gpu_check.LIMIT < 600
    names = list(gpu_wheels.needed())
    assert {"numpy", "pytest", "opencv-python-headless"} <= set(names)
    assert "torch" not in names
