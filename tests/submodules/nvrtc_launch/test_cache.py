"""The disk cache: whole files or none, whatever happens around it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from nvrtc_launch import cache

# The cache module alone, without torch, which takes seconds to import.
WRITER = """
import runpy, sys
from pathlib import Path
cache = runpy.run_path(sys.argv[1])
path, own = Path(sys.argv[2]), sys.argv[3].encode() * 200_000
for _ in range(100):
    assert cache["store"](path, own)
    content = cache["load"](path)
    assert content is not None, "half-written"
    assert content in (b"a" * 200_000, b"b" * 200_000)
"""


def test_what_was_stored_is_loaded(tmp_path):
    path = tmp_path / "new" / "folder" / "x.cubin"
    assert cache.load(path) is None
    assert cache.store(path, b"machine code")
    assert cache.load(path) == b"machine code"
    assert [file.name for file in path.parent.iterdir()] == ["x.cubin"]


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 100])
def test_a_damaged_file_counts_as_absent(tmp_path, damage):
    path = tmp_path / "x.cubin"
    cache.store(path, b"machine code")
    path.write_bytes(damage)
    assert cache.load(path) is None
    data = bytearray(b"machine code")
    cache.store(path, bytes(data))
    stored = bytearray(path.read_bytes())
    stored[-1] ^= 1
    path.write_bytes(bytes(stored))
    assert cache.load(path) is None


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert not cache.store(tmp_path / "file" / "x.cubin", b"machine code")
    assert cache.load(tmp_path / "file" / "x.cubin") is None


def test_a_failed_replacement_leaves_nothing_behind(tmp_path):
    path = tmp_path / "x.cubin"
    path.mkdir()
    assert not cache.store(path, b"machine code")
    assert list(tmp_path.iterdir()) == [path]


def test_two_processes_never_see_half_a_file(tmp_path):
    arguments = [sys.executable, "-c", WRITER, cache.__file__, str(tmp_path / "x.cubin")]
    running = [
        subprocess.Popen([*arguments, letter], stderr=subprocess.PIPE, text=True) for letter in "ab"
    ]
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert len(list(tmp_path.iterdir())) == 1


def test_the_folder_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("NVRTC_LAUNCH_CACHE", "/own/place")
    assert cache.cache_folder() == Path("/own/place")
    monkeypatch.delenv("NVRTC_LAUNCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache.cache_folder() == Path("/caches/nvrtc-launch")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.cache_folder() == Path.home() / ".cache" / "nvrtc-launch"


def test_borders_between_the_parts_count():
    assert cache.digest(["ab", "c"]) != cache.digest(["a", "bc"])
    assert cache.digest(["ab", b"c"]) == cache.digest([b"ab", "c"])
