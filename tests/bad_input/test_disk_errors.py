"""A folder or disk that cannot be written is one line, and what was written stays whole."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.methods import TWO

pytestmark = [pytest.mark.long, pytest.mark.methods(*TWO)]


def test_an_output_folder_under_a_file_is_refused(refused, training, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        line = refused(*training(out))
        assert f"{out}: the output folder cannot be written" in line
        assert "choose another with -m" in line
    assert (tmp_path / "file").read_text() == "in the way"


def test_an_output_folder_without_permission_is_refused(refused, training, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    line = refused(*training(tmp_path))
    assert f"{tmp_path}: the output folder cannot be written (no permission)" in line
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_of_a_sheet_is_named(refused, training, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sheets").write_text("in the way")
    assert "out/sheets: it is no folder" in refused(*training(tmp_path / "out"))


class FullAfter:
    """A `save_file` on a disk that is full from the given call on, leaving a part of the file."""

    def __init__(self, calls):
        self.left = calls

    def __call__(self, tensors, file):
        self.left -= 1
        if self.left < 0:
            Path(file).write_bytes(b"cut")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save_file(tensors, file)


@pytest.mark.parametrize("calls", [0, 1, 2, 3, 5, 6, 7])
def test_a_full_disk_keeps_the_last_checkpoint_and_the_run_goes_on(
    calls, refused, run, training, trained, tmp_path, monkeypatch
):
    argv = training(tmp_path / "out")
    monkeypatch.setattr("utils.tensors.save_file", FullAfter(calls))
    line = refused(*argv)
    assert "the disk is full; make room" in line
    assert not list(tmp_path.rglob("*-part*"))
    for file in tmp_path.rglob("*.safetensors"):
        load_file(file)
    monkeypatch.setattr("utils.tensors.save_file", save_file)
    assert run(*argv)[0] == 0
    name = "point_cloud/iteration_8/model.safetensors"
    assert (tmp_path / "out" / name).read_bytes() == (trained / name).read_bytes()


@pytest.mark.parametrize("name", ["scene.json", "point_cloud.ply"])
def test_a_disk_that_fills_up_with_an_exported_model_s_other_files_is_one_line(
    name, refused, training, tmp_path, monkeypatch
):
    replace = os.replace

    def full(source, target):
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    line = refused(*training(tmp_path / "out"))
    assert "point_cloud/iteration_8: could not be written: the disk is full; make room" in line
    assert not list(tmp_path.rglob("*-part*"))


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a disk of so many bytes, with further options of mount."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = []

    def mount(size, *options):
        command = [
            "mount",
            "-t",
            "tmpfs",
            "-o",
            ",".join([f"size={size}", *options]),
            "tmpfs",
            str(disk),
        ]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("mounting a small disk needs root")
        mounted.append(disk)
        return disk

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_really_full_disk_is_one_line(case, refused, training, trained, small_disk):
    checkpoint = sum(
        file.stat().st_size for file in (trained / f"checkpoints/{case.last}_8").iterdir()
    )
    disk = small_disk(int(1.5 * checkpoint))  # a second checkpoint does not fit beside the first
    line = refused(*training(disk / "out"))
    assert "the disk is full; make room" in line
    assert not list(disk.rglob("*-part*"))


def test_a_read_only_disk_is_one_line(refused, training, small_disk):
    disk = small_disk(2**20, "ro")
    for out in (disk, disk / "out"):
        assert "cannot be written" in refused(*training(out))


def test_a_full_disk_under_the_log_is_one_line(refused, training, tmp_path, monkeypatch):
    def full(path, text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("training.logger.append_text", full)
    line = refused(*training(tmp_path / "out"))
    assert "log.jsonl: No space left on device; check free space" in line
