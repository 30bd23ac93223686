"""threads.py: memory that is freed and asked for again is not fetched from the system again."""

import ctypes
import os
import subprocess
import sys

import pytest

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
