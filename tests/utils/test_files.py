import errno
import json
import os
import subprocess
from pathlib import Path

import pytest
from safetensors import SafetensorError

from utils.errors import InputError
from utils.files import (
    PART,
    append_text,
    inside,
    new_folder,
    own_folder,
    read_json,
    reading,
    regular,
    remove_folder,
    remove_leftovers,
    replacing,
    write_json,
    write_text,
)


def test_an_error_keeps_the_old_file_and_leaves_no_other(tmp_path):
    write_text(tmp_path / "a.txt", "old")

    def interrupted():
        with replacing(tmp_path / "a.txt") as part:
            part.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_one_sentence_naming_the_file(tmp_path):
    def full():
        with replacing(tmp_path / "a.txt"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(InputError, match=r"a\.txt: cannot be written \(No space left"):
        full()
    with pytest.raises(InputError, match=r"nowhere/a\.txt: cannot be written"):
        append_text(tmp_path / "nowhere" / "a.txt", "x")


def fill(folder, content="new", error=None):
    with new_folder(folder, "buy a disk") as part:
        (part / "in").mkdir()
        (part / "in" / "a.txt").write_text(content)
        if error:
            raise error


def test_a_new_folder_takes_the_place_of_the_old_one(tmp_path):
    (tmp_path / f"out{PART}").mkdir()
    (tmp_path / f"out{PART}" / "left").write_text("by a killed process")
    for content in ("old", "new"):
        fill(tmp_path / "below" / "out", content)
        fill(tmp_path / "out", content)
        assert (tmp_path / "out" / "in" / "a.txt").read_text() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["below", "out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["in"]


def test_everything_in_a_new_folder_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync

    def note(descriptor):
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        synced.append((os.path.relpath(path, tmp_path), (tmp_path / "out").exists()))
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", note)
    fill(tmp_path / "out")
    expected = [f"out{PART}", f"out{PART}/in", f"out{PART}/in/a.txt"]
    assert sorted(synced) == [(name, False) for name in expected]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "the disk is full"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "the disk is full"),
        (OSError(errno.EACCES, os.strerror(errno.EACCES)), "Permission denied"),
        (KeyboardInterrupt(), None),
    ],
    ids=["full", "full under safetensors", "permission", "interrupt"],
)
def test_a_failure_keeps_the_old_folder_and_leaves_no_other(error, message, tmp_path):
    fill(tmp_path / "out", "old")
    with pytest.raises(InputError if message else KeyboardInterrupt) as raised:
        fill(tmp_path / "out", "new", error)
    if message:
        expected = f"{tmp_path}/out: could not be written: {message}; buy a disk"
        assert str(raised.value) == expected
    assert (tmp_path / "out" / "in" / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_in_the_place_of_a_new_folder_is_kept(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match="out: could not be written"):
        fill(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "a file"


def test_json_comes_back_and_nan_is_refused(tmp_path):
    write_json(tmp_path / "a.json", {"a": [1, 2.5, None]})
    assert read_json(tmp_path / "a.json") == {"a": [1, 2.5, None]}
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", float("nan"))
    assert read_json(tmp_path / "a.json") == {"a": [1, 2.5, None]}


@pytest.mark.parametrize("content", [b'{"a": [1, 2', b"", b"\xff\xfe{}"])
def test_a_broken_json_file_is_named(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json: cannot be read as JSON"):
        read_json(tmp_path / "a.json")


def test_what_killed_processes_left_goes_and_nothing_else(tmp_path):
    process = subprocess.Popen(["true"])
    process.wait()
    gone, here = process.pid, os.getpid()
    (tmp_path / "sheets").mkdir()
    left = [f".config.{gone}{PART}.json", f"sheets/.fine_10.{gone}{PART}.png"]
    left += [f".LICENSE.{gone}{PART}"]
    kept = [f".config.{here}{PART}.json", ".hidden.json", "config.1.json", "log.jsonl"]
    kept += ["movie.mp4.part", f".notes.{gone}.txt", f"a file{PART}"]
    for name in left + kept:
        (tmp_path / name).write_text(json.dumps(name))
    (tmp_path / "checkpoints" / f"fine_10{PART}").mkdir(parents=True)
    (tmp_path / "download.part").mkdir()
    (tmp_path / f"link{PART}").symlink_to(tmp_path / "download.part")
    remove_leftovers(tmp_path)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == set(kept)
    assert not list(tmp_path.glob("checkpoints/*"))
    assert (tmp_path / f"link{PART}").is_dir()


def test_a_removed_folder_loses_its_name_before_its_files(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("x")
    seen = []
    monkeypatch.setattr(
        "shutil.rmtree", lambda path, ignore_errors=False: seen.append((tmp_path / "a").exists())
    )
    remove_folder(tmp_path / "a")
    assert seen[-1] is False


def test_no_way_into_a_folder_leads_through_a_link_or_out_of_it(tmp_path):
    other, model, linked = tmp_path / "other", tmp_path / "model", tmp_path / "linked"
    (other / "deep").mkdir(parents=True)
    (model / "real").mkdir(parents=True)
    (model / "link").symlink_to(other)
    linked.symlink_to(model)
    for way in ("link", "link/deep", "link/deep/new", "real/../link"):
        for read in (inside, own_folder):
            with pytest.raises(InputError, match=r"link: it is a link in .*model"):
                read(model, model / way)
    with pytest.raises(InputError, match="it leads out of"):
        inside(model, model / "real" / "../../other")
    # What is opened is what was looked at: the detour over the link is gone.
    assert inside(model, model / "link/../real") == model / "real"
    assert own_folder(linked, linked / "real" / "new") == linked / "real" / "new"
    (model / "file").write_text("in the way")
    with pytest.raises(InputError, match="file: it is no folder"):
        own_folder(model, model / "file" / "new")


def test_only_regular_files_within_the_limit_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"12345")
    (tmp_path / "link").symlink_to(tmp_path / "large")
    for path, said in (
        (tmp_path / "pipe", "it is a pipe or a device"),
        (Path("/dev/zero"), "it is a pipe or a device"),
        (tmp_path, "it is a folder"),
        (tmp_path / "large", "5 bytes, expected at most 4"),
        (tmp_path / "gone", "no such file"),
        (tmp_path / ("x" * 5_000), "File name too long"),
        (tmp_path / "nul\0", "null byte"),
    ):
        with pytest.raises(InputError, match=said) as raised:
            regular(path, 4)
        assert len(str(raised.value)) < 600
    assert regular(tmp_path / "link", 5) == 5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * 100_000, "recursion"),
        (b'{"a":' * 100_000, "recursion"),
        (b'{"a": ' + b"9" * 400 + b"}", "an integer of 400 digits"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "an integer of 5000 digits"),
        (b'{"file_path": "\\ud800"}', "surrogates not allowed"),
    ],
)
def test_json_that_nothing_can_hold_is_one_line(tmp_path, content, said):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.json: cannot be read as JSON .*{said}") as raised:
        read_json(tmp_path / "a.json")
    assert len(str(raised.value)) < 500


def test_json_with_a_byte_order_mark_and_names_that_are_not_utf8_come_back(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": "\xc3\xbc"}')
    assert read_json(tmp_path / "a.json") == {"a": "ü"}
    write_json(tmp_path / "a.json", os.fsdecode(b"\xff\xfe"))
    assert read_json(tmp_path / "a.json") == os.fsdecode(b"\xff\xfe")


@pytest.mark.parametrize("error", [RecursionError(), OverflowError(), MemoryError(), KeyError("x")])
def test_whatever_a_parser_stumbles_over_names_the_file(error):
    said = r"a\.bin: cannot be read as numbers \(.+\); write it again"
    with pytest.raises(InputError, match=said), reading("a.bin", "numbers"):
        raise error
    with pytest.raises(InputError, match="own words"), reading("a.bin", "numbers"):
        raise InputError("own words")


def test_writers_leave_what_a_link_points_to_as_it_is(tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("precious")
    model = tmp_path / "model"
    model.mkdir()
    (model / "a.txt").symlink_to(victim / "file")
    (model / f".a.{os.getpid()}.txt").symlink_to(victim / "file")
    write_text(model / "a.txt", "new")
    (model / "log.jsonl").symlink_to(victim / "file")
    with pytest.raises(InputError, match=r"log\.jsonl: cannot be written"):
        append_text(model / "log.jsonl", "new")
    (model / "out").symlink_to(victim)
    with pytest.raises(InputError, match="out: could not be written"):
        fill(model / "out")
    os.mkfifo(model / "pipe")
    with pytest.raises(InputError, match="pipe: cannot be written"):
        append_text(model / "pipe", "new")
    assert [(path.name, path.read_text()) for path in victim.iterdir()] == [("file", "precious")]


def test_text_with_a_name_that_is_not_utf8_is_written(tmp_path):
    name = os.fsdecode(b"\xff")
    write_text(tmp_path / "a.txt", name)
    append_text(tmp_path / "a.txt", name)
    assert (tmp_path / "a.txt").read_text() == "\\udcff" * 2
