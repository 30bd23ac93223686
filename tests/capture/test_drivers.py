"""Drivers by name: any order of columns, ways to write sides, angle units; packets by bits."""

import json
import math
import struct

import numpy as np
import pytest

from capture.drivers import VmcState, plain, read_arkit, read_livelink, read_packet
from utils.errors import InputError

NAMES = ("eyeBlinkLeft", "eyeBlinkRight", "browInnerUpLeft", "browInnerUpRight", "mouthSmileLeft")
COLUMNS = ("Timecode", "BlendShapeCount", "EyeBlinkRight", "EyeBlinkLeft", "BrowInnerUp", "JawOpen",
           "JawRight", "JawLeft", "HeadYaw", "HeadPitch", "HeadRoll")  # fmt: skip


def csv(path, rows, columns=COLUMNS):
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def row(code="00:00:01:00.000", **values):
    known = {"Timecode": code, "BlendShapeCount": 61, **values}
    return [known.get(name, 0) for name in COLUMNS]


def test_columns_are_found_by_name_and_scores_without_a_side_go_to_both(tmp_path):
    file = csv(tmp_path / "a.csv", [row(EyeBlinkLeft=0.9, EyeBlinkRight=0.2, BrowInnerUp=0.5)])
    found = read_livelink(file, NAMES)
    assert found.expression[0].tolist() == pytest.approx([0.9, 0.2, 0.5, 0.5, 0])


def test_jaw_and_head_become_the_pose(tmp_path):
    file = csv(tmp_path / "a.csv", [row(JawOpen=0.5, JawLeft=0.5, HeadYaw=0.3, HeadPitch=-0.1)])
    pose = read_livelink(file, NAMES, jaw_open=0.4).pose[0]
    assert pose[[3, 4, 6, 7]].tolist() == pytest.approx([-0.1, 0.3, 0.2, 0.07])


def test_degrees_are_told_by_their_range(tmp_path):
    file = csv(tmp_path / "a.csv", [row(HeadYaw=30), row(HeadYaw=-10)])
    assert read_livelink(file, NAMES).pose[:, 4].tolist() == pytest.approx(
        [math.radians(30), math.radians(-10)]
    )


def test_timecodes_give_the_times(tmp_path):
    codes = ("10:00:59:58.500", "10:00:59:59.000", "10:01:00:00.000")
    times = read_livelink(csv(tmp_path / "a.csv", [row(code) for code in codes]), NAMES).times
    assert times == pytest.approx(np.array([0, 0.5, 1.5]) / 60)


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [
        ([], COLUMNS, "no column JawOpen among nothing"),
        ([[0, 1]], ("a", "b"), "no column JawOpen among a, b"),
        ([row(JawOpen="x")], COLUMNS, "line 2, JawOpen is 'x', expected a number"),
        ([row(JawOpen="nan")], COLUMNS, "line 2, JawOpen is nan"),
    ],
)
def test_a_wrong_csv_is_refused_in_one_line(tmp_path, rows, columns, words):
    with pytest.raises(InputError, match=words):
        read_livelink(csv(tmp_path / "a.csv", rows, columns), NAMES)


@pytest.mark.parametrize(
    "document",
    [
        {"names": ["jawOpen", "eyeBlink_L"], "frames": [{"weights": [0.5, 0.7], "time": 0}]},
        {"frames": [{"weights": {"JawOpen": 0.5, "EyeBlinkLeft": 0.7}}], "fps": 25},
        [{"jawOpen": 0.5, "eyeBlinkLeft": 0.7}],
    ],
)
def test_arkit_weights_in_every_usual_form(tmp_path, document):
    (tmp_path / "a.json").write_text(json.dumps(document))
    found = read_arkit(tmp_path / "a.json", NAMES, jaw_open=0.4)
    assert found.expression[0, 0].item() == pytest.approx(0.7)
    assert found.pose[0, 6].item() == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "no frames"),
        ([3], "frame 0 is int"),
        ({"names": ["a"], "frames": [{"weights": [1, 2]}]}, "2 weights; 'names' must name each"),
        ([{"jawOpen": "x"}], "jawOpen is 'x'"),
    ],
)
def test_wrong_json_is_refused_in_one_line(tmp_path, document, words):
    (tmp_path / "a.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=words):
        read_arkit(tmp_path / "a.json", NAMES)


@pytest.mark.parametrize(
    "name", ["mouthSmileLeft", "MouthSmileLeft", "mouthSmile_L", "mouth_smile_left"]
)
def test_sides_are_written_in_many_ways(name):
    assert plain(name) == "mouthsmileleft"


def padded(text):
    data = text.encode() + b"\0"
    return data + b"\0" * (-len(data) % 4)


def osc(address, kinds="", *values):
    data = padded(address) + padded("," + kinds)
    for kind, value in zip(kinds, values, strict=True):
        data += padded(value) if kind == "s" else struct.pack(f">{kind}", value)
    return data


def bundle(*elements):
    return b"#bundle\0" + bytes(8) + b"".join(struct.pack(">i", len(e)) + e for e in elements)


def test_vmc_scores_come_with_apply():
    state = VmcState()
    assert not state.take(osc("/VMC/Ext/Blend/Val", "sf", "jawOpen", 0.25))
    assert state.scores == {}
    assert state.take(osc("/VMC/Ext/Blend/Apply"))
    assert state.scores == {"jawOpen": 0.25}


def test_a_bundle_is_opened_and_the_head_turns():
    half = math.sin(0.1), math.cos(0.1)
    state = VmcState()
    assert state.take(bundle(
        osc("/VMC/Ext/Bone/Pos", "sfffffff", "Head", 0, 0, 0, 0, half[0], 0, half[1]),
        osc("/VMC/Ext/Blend/Val", "sf", "eyeBlinkLeft", 1.0),
        osc("/VMC/Ext/Blend/Apply"),
    ))  # fmt: skip
    # Unity turns right for positive angles, the head model left.
    assert state.scores["headYaw"] == pytest.approx(-0.2, abs=1e-6)
    assert state.scores["eyeBlinkLeft"] == 1.0


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"/a", padded("/a") + padded(",f"), padded("/a") + padded(",q") + bytes(8),
     b"#bundle\0" + bytes(8) + struct.pack(">i", 99), bytes(70_000)],
)  # fmt: skip
def test_a_packet_that_is_no_osc_is_refused(data):
    with pytest.raises(InputError):
        read_packet(data)


def test_bundles_in_bundles_end():
    data = osc("/a")
    for _ in range(50):
        data = bundle(data)
    with pytest.raises(InputError, match="too deep"):
        read_packet(data)
