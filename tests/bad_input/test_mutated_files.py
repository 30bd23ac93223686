"""Whatever is done to a file that we read: it reads, or one InputError names it, soon.

500 files per reader by default in slow runs, a few in fast ones; `BORDER_FILES` sets the number.
"""

import io
import json
import os
import pickle
import time
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from plyfile import PlyData, PlyElement

from arguments import load_settings, parse_render_args, save_settings
from metrics import background, find_views
from scene.head.array_files import read_array_file
from scoring.curves import read_curves
from scoring.report import write_report
from scoring.views_file import read_views
from tests.bad_input.mutations import mutated
from tests.scoring.test_hostile_runs import whole_run  # noqa: F401
from utils.errors import InputError
from utils.files import read_json
from utils.images import image_size, read_image
from utils.ply import read_points
from utils.tensors import read_tensors, write_tensors

SECONDS = 2.0  # of the processor
FEW, MANY = 40, int(os.environ.get("BORDER_FILES", 500))
RNG = np.random.default_rng(0)
SMALL = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)


def array_tree():
    return {"a": np.arange(6.0).reshape(2, 3), "b": [np.arange(3)] * 2, "c": "x", 5: None}


def saved(write):
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def ply(text):
    rows = np.zeros(5, [(n, "f4") for n in "xyz"] + [(n, "u1") for n in ("red", "green", "blue")])
    return saved(PlyData([PlyElement.describe(rows, "vertex")], text=text).write)


def safetensors(tmp_path):
    write_tensors(tmp_path / "t", {"a": torch.rand(3, 4), "b": torch.arange(3)})
    return (tmp_path / "t").read_bytes()


def config(tmp_path):
    from arguments import parse_train_args

    settings = parse_train_args(["-s", "data", "--dataset", "dnerf"])
    save_settings(settings, tmp_path / "c")
    return (tmp_path / "c").read_bytes()


def views(tmp_path):
    view = {"name": "00000.png", "regions": {"mouth": [0, 0, 4, 4]}}
    timing = {"posed_and_drawn_fps": 20.0, "drawn_fps": 50.0}
    return json.dumps({"fps": 30.0, "timing": timing, "views": [view] * 3}).encode()


def picture(suffix, pixels=SMALL, **kind):
    return lambda folder: cv2.imencode(suffix, pixels)[1].tobytes()


def in_folder(name, read):
    return name, lambda file: read(file.parent)


# Name of the file, what reads it, what makes a sound one.
READERS = {
    "json": ("a.json", read_json, views),
    "png": ("a.png", read_image, picture(".png")),
    "png of 16 bits": ("a.png", read_image, picture(".png", SMALL.astype(np.uint16) * 257)),
    "jpeg": ("a.jpg", read_image, picture(".jpg")),
    "size": ("a.jpg", image_size, picture(".jpg")),
    "ply": ("a.ply", read_points, lambda folder: ply(text=False)),
    "ply as text": ("a.ply", read_points, lambda folder: ply(text=True)),
    "safetensors": ("a.safetensors", read_tensors, safetensors),
    "pickle": ("a.pkl", read_array_file, lambda folder: pickle.dumps(array_tree(), 2)),
    "pickle of today": ("a.pkl", read_array_file, lambda folder: pickle.dumps(array_tree(), 5)),
    "npy": ("a.npy", read_array_file, lambda f: saved(partial(np.save, arr=SMALL))),
    "npz": ("a.npz", read_array_file, lambda f: saved(partial(np.savez, a=SMALL, b=SMALL))),
    "torch": (
        "a.pt",
        read_array_file,
        lambda folder: saved(partial(torch.save, {"a": torch.rand(3, 4).T, "b": "x"})),
    ),
    "config of training": ("config.json", load_settings, config),
    "config of rendering": (
        *in_folder("config.json", lambda folder: parse_render_args(["-m", str(folder)])),
        config,
    ),
    "config of scores": (*in_folder("config.json", background), config),
    "views": (*in_folder("views.json", read_views), views),
}


def tried(reader, file, data):
    """Read it; True where it was refused. Anything but an InputError of one line fails."""
    file.write_bytes(data)
    start = time.process_time()
    try:
        reader(file)
        refused = False
    except InputError as error:
        refused = True
        line = str(error)
        assert file.name in line or "\n" not in line
        assert len(line) < 2_000, line[:300]
    assert time.process_time() - start < SECONDS, data[:200]
    return refused


def fuzz(reader, file, sound, count, seed=0):
    refused = 0
    for k in range(count):
        data = mutated(sound, np.random.default_rng([seed, k]))
        try:
            refused += tried(reader, file, data)
        except Exception as error:
            raise AssertionError(f"file {k} of {file.name}: {error!r}") from error
    return refused


@pytest.mark.parametrize("kind", READERS)
def test_a_damaged_file_reads_or_is_named(tmp_path, kind):
    name, reader, make = READERS[kind]
    sound = make(tmp_path)
    assert not tried(reader, tmp_path / name, sound)
    assert fuzz(reader, tmp_path / name, sound, FEW) > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", READERS)
def test_many_damaged_files_read_or_are_named(tmp_path, kind):
    name, reader, make = READERS[kind]
    assert fuzz(reader, tmp_path / name, make(tmp_path), MANY, seed=1) > MANY // 10


OWN_FILES = ["results.json", "per_view.json", "log.jsonl", "config.json"]


def report_with(whole_run, name, count, monkeypatch):  # noqa: F811
    """Reports of a folder whose file `name` is damaged; drawing curves takes most of the time."""
    sound = (whole_run / name).read_bytes()
    if name != "log.jsonl" or count > FEW:
        draw = "scoring.report.draw_curves"
        monkeypatch.setattr(draw, lambda folder: read_curves(folder / "log.jsonl") and None)
    fuzz(lambda file: write_report(whole_run), whole_run / name, sound, count, seed=2)


@pytest.mark.long
@pytest.mark.parametrize("name", OWN_FILES)
def test_a_report_of_damaged_files_is_written_or_names_one(whole_run, name, monkeypatch):  # noqa: F811
    report_with(whole_run, name, 10, monkeypatch)
    find_views(whole_run)


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN_FILES)
def test_reports_of_many_damaged_files_are_written_or_name_one(whole_run, name, monkeypatch):  # noqa: F811
    report_with(whole_run, name, MANY, monkeypatch)
