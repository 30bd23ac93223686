"""Broken folders of every family: each either reads to a sane scene or ends in one InputError that
names a place in the folder. Seeded: a failure prints the cases, which repeat."""

import io
import json
import os
import random

import numpy as np
import pytest
import torch

from scene.frames import NO_ROW
from tests.scene.datasets.reading import decode, read
from tests.scene.datasets.tiny_folders import TINY, film
from utils.errors import InputError

pytestmark = pytest.mark.long

CASES, MANY_CASES = 30, 300  # per family


def leaves(value, path=()):
    """Paths of everything inside a JSON value."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, item in items:
        yield (*path, key)
        yield from leaves(item, (*path, key))


def parent(content, path):
    for key in path[:-1]:
        content = content[key]
    return content


STRANGE = [
    float("nan"),
    float("inf"),
    1e300,
    -1e300,
    10**400,
    1e30,
    -1,
    0,
    "wide",
    "",
    None,
    True,
    [],
    {},
    [[1]],
    "\0",
    "../x",
]


def in_json(data, rng):
    """One thing inside the file goes, becomes something strange, or changes its order."""
    content = json.loads(data)
    path = rng.choice(list(leaves(content)))
    holder, key = parent(content, path), path[-1]
    way = rng.choice(["drop", "strange", "strange", "permute"])
    if way == "drop":
        del holder[key]
    elif way == "strange" or not isinstance(holder[key], list):
        holder[key] = rng.choice(STRANGE)
    else:
        rng.shuffle(holder[key])
    return json.dumps(content).encode()


def in_numbers(array, rng):
    array = array.copy()
    way = rng.choice(["value", "value", "row", "order", "dtype", "flat"])
    if way == "value" and array.dtype.kind == "f":
        array.reshape(-1)[rng.randrange(array.size)] = rng.choice([np.nan, np.inf, 1e30, -1e30, 0])
    elif way == "row":
        array = array[:-1]
    elif way == "order":
        array = array[..., np.random.default_rng(rng.randrange(99)).permutation(array.shape[-1])]
    elif way == "dtype":
        array = array.astype(rng.choice(["S8", "complex64", "bool", "object"]))
    else:
        array = array.reshape(-1)
    return array


def in_npy(data, rng):
    out = io.BytesIO()
    np.save(out, in_numbers(np.load(io.BytesIO(data)), rng))
    return out.getvalue()


def in_npz(data, rng):
    arrays, out = dict(np.load(io.BytesIO(data))), io.BytesIO()
    key = rng.choice(list(arrays))
    if rng.random() < 0.3:
        del arrays[key]
    else:
        arrays[key] = in_numbers(arrays[key], rng)
    np.savez(out, **arrays)
    return out.getvalue()


def in_words(data, rng):
    """One word of a text file becomes another, or a line goes."""
    lines = data.decode().splitlines()
    line = rng.randrange(len(lines))
    words = lines[line].split()
    if words and rng.random() < 0.7:
        words[rng.randrange(len(words))] = rng.choice(
            ["nan", "inf", "1e300", "-1", "0", "wide", "1e30", "9" * 400]
        )
        lines[line] = " ".join(words)
    else:
        del lines[line]
    return "\n".join(lines).encode()


def in_bytes(data, rng):
    """Some bytes become others."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 4, 64])):
        data[rng.randrange(len(data))] = rng.choice([0, 255, rng.randrange(256)])
    return bytes(data)


def cut(data, rng):
    return data[: rng.randrange(len(data))]


INSIDE = {".json": in_json, ".npy": in_npy, ".npz": in_npz, ".txt": in_words, ".ply": in_words}


def corrupt(folder, rng):
    """Break one file of the folder; returns what was done and a function that mends it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    kinds = sorted({path.suffix for path in files})
    kind = rng.choice(kinds)  # few files hold the poses, many the pictures
    file = rng.choice([path for path in files if path.suffix == kind])
    data = file.read_bytes()
    inside = INSIDE.get(file.suffix, in_bytes)
    way = rng.choice([inside] * 5 + [in_bytes, cut, "delete", "empty"])
    if way == "delete":
        file.unlink()
    else:
        file.write_bytes(b"" if way == "empty" else way(data, rng))
    return f"{way if isinstance(way, str) else way.__name__} {file.name}", lambda: file.write_bytes(
        data
    )


def check_sane(scene):
    frames = [*scene.train, *scene.test, *scene.val, *scene.video]
    for frame in frames:
        viewmat, K = frame.camera.viewmat, frame.camera.K
        assert torch.isfinite(viewmat).all(), "pose"
        assert viewmat.abs().max() <= 1e6, "far away"
        rotation = viewmat[:3, :3]
        torch.testing.assert_close(rotation @ rotation.T, torch.eye(3), atol=0.05, rtol=0)
        assert torch.isfinite(K).all(), "intrinsics"
        assert K.diagonal().min() > 0, "focal length"
        assert 0 <= frame.time <= 1, "time"
        assert frame.index >= 0 or (frame.index == NO_ROW and frame.image_path is None), "row"
        for vector in (frame.expression, frame.flame_pose):
            assert vector is None or torch.isfinite(vector).all(), "conditioning"
    assert torch.isfinite(scene.points.xyz).all(), "points"
    assert torch.isfinite(scene.points.rgb).all(), "colours"
    for frame in decode(scene):
        assert frame.image.shape == (3, frame.camera.height, frame.camera.width)
        assert torch.isfinite(frame.image).all()


def check_cases(name, folder, count):
    TINY[name](folder)
    check_sane(read(name, folder))
    failures = []
    for case in range(count):
        rng = random.Random(f"{name} {case}")
        done, mend = corrupt(folder, rng)
        try:
            check_sane(read(name, folder, resolution=rng.choice([-1, 2])))
        except InputError as error:
            if str(folder) not in str(error):
                failures.append(f"case {case}: {done}: names no file: {error}")
        except Exception as error:
            failures.append(f"case {case}: {done}: {type(error).__name__}: {error}")
        mend()
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("name", TINY)
def test_broken_folders_read_sanely_or_end_in_one_error(name, tmp_path):
    check_cases(name, tmp_path, CASES)


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_many_broken_folders_read_sanely_or_end_in_one_error(name, tmp_path):
    check_cases(name, tmp_path, MANY_CASES)


@pytest.mark.parametrize("name", [*TINY, "videos"])
@pytest.mark.timeout(60)  # of a reader that waits; nothing else does
def test_a_pipe_in_the_place_of_any_file_is_not_waited_for(name, tmp_path):
    family = "dynerf" if name == "videos" else name
    folder, aside = tmp_path / "scene", tmp_path / "aside"
    folder.mkdir()
    TINY[family](folder)
    if name == "videos":
        film(folder)
    unnamed = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        file.rename(aside)
        os.mkfifo(file)
        try:
            check_sane(read(family, folder, model_path=str(tmp_path / "out" / "run")))
        except InputError as error:
            unnamed += [] if str(folder) in str(error) else [str(error)]
        aside.replace(file)
    assert not unnamed
