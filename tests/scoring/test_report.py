"""The report of whole, partial and hostile model folders."""

import base64
import json
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from scoring import report
from scoring.report import training_seconds, write_report
from utils.errors import InputError

VIDEO = b"\0\0\0\x18ftypmp42"
VOID = {"meta", "img", "input", "br", "circle", "line"}


class Page(HTMLParser):
    """Collects addresses and text, and checks that every tag is closed in order."""

    def __init__(self, html: str):
        super().__init__()
        self.open, self.addresses, self.text, self.tags = [], [], [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def says(self, text: str) -> bool:
        return text in " ".join(self.text)


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def write_config(folder: Path, **params) -> None:
    config = {"dataset": "dnerf", "method": "fourdgs", "ModelParams": params}
    (folder / "config.json").write_text(json.dumps(config))


def write_views(folder: Path, method: str, count: int) -> None:
    for part in ("renders", "gt"):
        (folder / "test" / method / part).mkdir(parents=True)
        for k in range(count):
            image = np.full((12, 16, 3), 20 * k, np.uint8)
            cv2.imwrite(str(folder / "test" / method / part / f"{k:05d}.png"), image)


@pytest.fixture
def whole_run(tmp_path):
    """Two iterations; ten views whose PSNR falls with their number."""
    write_config(tmp_path, white_background=True)
    for method in ("ours_9", "ours_30"):
        write_views(tmp_path, method, 10)
    psnr = {f"{k:05d}.png": 30.0 - k for k in range(10)}
    scores = {"PSNR": 25.5, "LPIPS-vgg": None, "protocol": {"split": "test", "notes": ["why"]}}
    (tmp_path / "results.json").write_text(json.dumps({"ours_9": scores, "ours_30": scores}))
    per_view = {"PSNR": psnr, "LPIPS-vgg": dict.fromkeys(psnr)}
    (tmp_path / "per_view.json").write_text(json.dumps({"ours_9": {}, "ours_30": per_view}))
    rows = [{"stage": "fine", "step": s, "n_gaussians": 1234, "it_per_s": 2.0} for s in (10, 20)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "video" / "ours_30").mkdir(parents=True)
    (tmp_path / "video" / "ours_30" / "video_rgb.mp4").write_bytes(VIDEO)
    return tmp_path


@pytest.mark.long
def test_a_whole_run_is_one_file_without_outside_addresses(whole_run):
    page = read(write_report(whole_run))
    assert page.addresses
    assert all(address.startswith("data:") for address in page.addresses)
    video = f"data:video/mp4;base64,{base64.b64encode(VIDEO).decode()}"
    assert video in page.addresses
    assert not any(text.startswith("No ") for text in page.text)
    for text in ("25.50", "1,234", "0 min 10 s", "why", "white_background"):
        assert page.says(text)


def test_pairs_go_from_the_worst_view_to_the_best_of_the_last_iteration(whole_run):
    page = read(write_report(whole_run))
    captions = [text for text in page.text if text.startswith("test 0")]
    assert len(captions) == 6
    assert captions[0] == "test 00009, PSNR 21.00 dB"
    assert captions[-1] == "test 00000, PSNR 30.00 dB"
    truth = (whole_run / "test/ours_30/gt/00009.png").read_bytes()
    pictures = [address for address in page.addresses if address.startswith("data:image/png")]
    assert pictures[0].endswith(base64.b64encode(truth).decode())


def test_a_run_with_only_its_settings_says_what_to_run(tmp_path):
    write_config(tmp_path, sh_degree=3)
    page = read(write_report(tmp_path))
    for text in ("No video.", "No views.", "No scores.", "No curves"):
        assert page.says(text)
    assert page.says(f"python metrics.py -m {tmp_path}")


def test_views_without_scores_or_settings_are_shown(tmp_path):
    write_views(tmp_path, "ours_30", 2)
    page = read(write_report(tmp_path))
    assert page.tags.count("figure") == 2
    assert page.says("No scores.")


def test_markup_in_settings_names_and_notes_stays_text(tmp_path):
    folder = tmp_path / "<b>run & co"
    folder.mkdir()
    write_config(folder, source_path='"><script>alert(1)</script>')
    write_views(folder, "ours_30", 1)
    results = {"ours_30": {"PSNR": 1.0, "protocol": {"notes": ["<script>"], "code": {"<i>": 1}}}}
    (folder / "results.json").write_text(json.dumps(results))
    page = read(write_report(folder))
    assert page.tags.count("script") == 1
    assert "i" not in page.tags
    assert page.says("<b>run & co")
    assert page.says('"><script>alert(1)</script>')


def test_a_large_picture_is_shrunk_and_a_large_video_linked(tmp_path, monkeypatch):
    write_config(tmp_path)
    monkeypatch.setattr(report, "VIDEO_BYTES", 3)
    (tmp_path / "video" / "ours_30").mkdir(parents=True)
    (tmp_path / "video" / "ours_30" / "video_rgb.mp4").write_bytes(VIDEO)
    noise = np.random.default_rng(0).integers(0, 255, (800, 1400, 3), np.uint8)
    for part in ("renders", "gt"):
        (tmp_path / "test" / "ours_30" / part).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "test" / "ours_30" / part / "00000.png"), noise)
    page = read(write_report(tmp_path))
    assert "video/ours_30/video_rgb.mp4" in page.addresses
    (address, _) = [a for a in page.addresses if a.startswith("data:image/jpeg")]
    jpeg = np.frombuffer(base64.b64decode(address.partition(",")[2]), np.uint8)
    assert cv2.imdecode(jpeg, cv2.IMREAD_COLOR).shape[1] == 1000


def test_training_time_counts_every_step_once():
    rows = [("coarse", 10, 5.0), ("coarse", 20, 10.0), ("fine", 10, 2.0), ("fine", 20, None)]
    log = [{"stage": stage, "step": step, "it_per_s": rate} for stage, step, rate in rows]
    assert training_seconds(log) == pytest.approx(10 / 5 + 10 / 10 + 10 / 2)


def test_folders_that_are_no_run_and_damaged_files_are_named(tmp_path):
    with pytest.raises(InputError, match="gone: no such folder"):
        write_report(tmp_path / "gone")
    with pytest.raises(InputError, match=r"neither config\.json nor rendered views"):
        write_report(tmp_path)
    (tmp_path / "config.json").write_text('{"dataset": ')
    with pytest.raises(InputError, match=r"config\.json: cannot be read as JSON"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()
