"""Model folders of strangers: a report and scores of them give nothing away and end in one line."""

import base64
import json
import os
import runpy
import sys

import pytest
import torch

from metrics import find_views
from scoring.report import write_report
from scoring.views import PARTS, read_pair
from scoring.views_file import read_views
from tests.border import refused_cheaply
from tests.methods import ROOT
from tests.scoring.test_report import (  # noqa: F401
    VIDEO,
    read,
    whole_run,
    write_config,
    write_views,
)
from utils.errors import InputError

SECRET = b"-----BEGIN OPENSSH PRIVATE KEY----- not a picture"
LINKED = [
    "config.json", "results.json", "per_view.json", "log.jsonl", "test", "test/ours_30",
    "test/ours_30/renders", "test/ours_30/gt", "test/ours_30/gt/00009.png",
    "video/ours_30/video_rgb.mp4",
]  # fmt: skip


@pytest.mark.parametrize("name", LINKED)
def test_a_report_reads_nothing_through_a_link(whole_run, tmp_path_factory, name):  # noqa: F811
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "it"
    (whole_run / name).rename(elsewhere)
    (whole_run / name).symlink_to(elsewhere)
    with pytest.raises(InputError, match="it is a link in"):
        write_report(whole_run)
    assert not (whole_run / "report.html").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("test/ours_30/renders/00009.png", "not a whole PNG or JPEG"),
        ("test/ours_30/gt/00000.png", "not a whole PNG or JPEG"),
        ("video/ours_30/video_rgb.mp4", "not an MP4 file"),
    ],
)
def test_a_report_holds_pictures_and_videos_only(whole_run, name, said):  # noqa: F811
    (whole_run / name).write_bytes(SECRET)
    with pytest.raises(InputError, match=said) as raised:
        write_report(whole_run)
    assert name in str(raised.value)


def test_curves_that_nobody_can_draw_are_checked_before_they_are_shown(tmp_path):
    write_config(tmp_path)
    (tmp_path / "curves.png").write_bytes(SECRET)
    with pytest.raises(InputError, match=r"curves\.png: not a whole PNG"):
        write_report(tmp_path)


@pytest.mark.parametrize("name", ["results.json", "log.jsonl", "test/ours_30/gt/00009.png"])
def test_a_pipe_in_a_model_folder_is_not_waited_for(whole_run, name):  # noqa: F811
    (whole_run / name).unlink()
    os.mkfifo(whole_run / name)
    with pytest.raises(InputError, match="it is a pipe or a device"):
        write_report(whole_run)


NESTED = "[" * 100_000
FILES = {
    "results.json": [
        '{"ours_30": {"PSNR": "25"}}', '{"ours_30": {"PSNR": {"a": 1}}}', '{"ours_30": [1]}',
        '{"ours_30": {"PSNR": true}}', '{"ours_30": {"PSNR": 1, "protocol": [1]}}', "[]", '"x"',
        '{"ours_30": {"PSNR": ' + "9" * 400 + "}}", NESTED, '{"ours_30": ' + NESTED, "\x00", "",
    ],
    "per_view.json": [
        '{"ours_30": [1]}', '{"ours_30": "x"}', '{"ours_30": {"PSNR": [1]}}', NESTED, "1",
        '{"ours_30": {"PSNR": {"00000.png": "x"}}}', '{"ours_30": {"PSNR": {"00000.png": []}}}',
    ],
    "config.json": [NESTED, "[1]", '"x"', '{"ModelParams": ' + "9" * 400 + "}", "{"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content"),
    [(name, content) for name, contents in FILES.items() for content in contents],
    ids=lambda text: text[:24],
)
def test_files_of_other_types_are_one_line(whole_run, name, content):  # noqa: F811
    (whole_run / name).write_text(content)
    refused_cheaply(lambda: write_report(whole_run), name.replace(".", r"\."), len(content))


HARMLESS = [
    {"stage": ["fine"], "step": 10, "loss": 1.0},
    {"stage": "$\\frac{$", "step": 20, "n_gaussians": "many", "it_per_s": "quick", "loss": 1e308},
    {"stage": "fine", "step": 30, "n_gaussians": [1], "it_per_s": {}, "losses": {"$x_{": 1}},
    {"stage": "x" * 10**5, "step": 40, "it_per_s": 1e-320, "loss": 1, "losses": {"l" * 9_999: 2}},
    {"stage": "fine", "step": True, "split": {"a": 1}, "psnr": 10**300},
    {"stage": "fine", "step": 1e300, "it_per_s": 1.0},
]


@pytest.mark.long
def test_a_log_of_odd_rows_is_drawn_without_them(whole_run):  # noqa: F811
    rows = [json.dumps(row) for row in HARMLESS] + [NESTED, "9" * 5_000, '{"stage": 1, "step": ']
    rows += ['{"stage": "a", "step": ' + "9" * 400 + "}", "\x00\udcff"]
    rows += [json.dumps({"stage": f"s{k}", "step": 1, "loss": 1}) for k in range(2_000)]
    text = "\n".join(rows)
    (whole_run / "log.jsonl").write_bytes(text.encode(errors="surrogateescape"))
    page = read(write_report(whole_run))
    assert page.says("Training")


@pytest.mark.long
def test_settings_of_any_depth_are_shown(whole_run):  # noqa: F811
    deep = "[" * 400 + "]" * 400
    (whole_run / "config.json").write_text(f'{{"method": {deep}, "A": {{"b": {deep}}}}}')
    assert read(write_report(whole_run)).says("Settings")


def test_a_folder_that_is_not_utf8_is_reported(tmp_path, monkeypatch, capfd):
    folder = tmp_path / os.fsdecode(b"\xff\xfe")
    folder.mkdir()
    write_config(folder)
    monkeypatch.setattr(sys, "argv", ["make_report.py", str(folder)])
    runpy.run_path(str(ROOT / "scripts/make_report.py"), run_name="__main__")
    assert capfd.readouterr().err == ""
    assert b"\\udcff\\udcfe" in (folder / "report.html").read_bytes()


def test_scores_are_of_the_models_own_pictures(tmp_path):
    write_views(tmp_path / "other", "ours_30", 1)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "test").symlink_to(tmp_path / "other" / "test")
    with pytest.raises(InputError, match="test: it is a link in"):
        find_views(tmp_path / "model")
    render = tmp_path / "other" / "test" / "ours_30" / PARTS[0] / "00000.png"
    render.rename(tmp_path / "mine.png")
    render.symlink_to(tmp_path / "mine.png")
    with pytest.raises(InputError, match=r"00000\.png: it is a link in"):
        read_pair(render.parents[1], render.name, torch.device("cpu"))


@pytest.mark.parametrize(
    "content",
    [
        NESTED, "[]", '{"fps": 1}', '{"fps": "x", "timing": {}, "views": []}', "9" * 5_000,
        '{"fps": 1, "timing": {"posed_and_drawn_fps": 1, "drawn_fps": 1}, "views": [{"name": [],'
        ' "regions": {}}]}',
        '{"fps": 1, "timing": {"posed_and_drawn_fps": 1, "drawn_fps": 1}, "views": [{"name": "a",'
        ' "regions": {"mouth": [0, 0, Infinity, 2]}}]}',
    ],
    ids=lambda text: text[:24],
)  # fmt: skip
def test_views_of_other_types_are_one_line(tmp_path, content):
    (tmp_path / "views.json").write_text(content)
    refused_cheaply(lambda: read_views(tmp_path), r"views\.json: cannot be read as", len(content))


@pytest.mark.long
def test_the_video_of_the_page_is_the_file(whole_run):  # noqa: F811
    address = next(a for a in read(write_report(whole_run)).addresses if "video/mp4" in a)
    assert base64.b64decode(address.partition(",")[2]) == VIDEO
