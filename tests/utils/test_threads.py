"""threads.py: memory that is freed and asked for again is not fetched from the system again."""

import ctypes
import os
import subprocess
import sys

import pytest

from tests.methods import ROOT

CODE = """
import utils.threads, ctypes, resource
c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
c.free.argtypes = [ctypes.c_void_p]
def filled():
    block = c.malloc(16 * 2**20)
    ctypes.memset(block, 1, 16 * 2**20)
    c.free(block)
filled()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    filled()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**variables):
    """Pages that were fetched by writing 16 MiB ten times more."""
    found = subprocess.run(
        [sys.executable, "-c", CODE], env=os.environ | variables, capture_output=True, text=True
    )
    return int(found.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc's malloc")
def test_freed_memory_is_kept_unless_the_user_chose():
    assert faults() < 1000
    assert faults(MALLOC_MMAP_THRESHOLD_="1000000", MALLOC_TRIM_THRESHOLD_="1000000") > 30_000


def starts(line):
    """How a command ends that imports so."""
    command = [sys.executable, "-c", f"import utils.threads\n{line}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("import no_such_package.part", "No module named 'no_such_package'"),
        ("from tqdm import no_such_thing", "cannot import name 'no_such_thing' from 'tqdm'"),
    ],
)
def test_a_package_that_is_missing_or_old_is_one_line_that_says_what_to_run(line, found):
    ended = starts(line)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: {sys.executable} lacks ")
    assert found in ended.stderr
    assert "run make setup" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("line", ["import scene.no_such_file", "raise ImportError", "1 / 0"])
def test_errors_of_our_own_keep_their_traceback(line):
    ended = starts(line)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Traceback")
