"""Training curves from logs as runs leave them, whole or cut."""

import json
from pathlib import Path

import cv2
import pytest

from scoring.curves import draw_curves, read_curves


def write_log(folder: Path, rows: list, tail: str = "") -> Path:
    log = folder / "log.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in rows) + tail)
    return log


def row(stage: str, step: int, **values) -> dict:
    return {"stage": stage, "step": step, "loss": 0.1, "losses": {"l1": 0.08}, **values}


def test_stages_follow_each_other_on_one_axis(tmp_path):
    rows = [row("coarse", s, psnr=20 + s) for s in (10, 20)] + [row("fine", 10, psnr=30)]
    curves = read_curves(write_log(tmp_path, rows))
    assert curves.stages == [("coarse", 0), ("fine", 20)]
    assert curves.train["psnr"].steps == [10, 20, 30]
    assert curves.train["psnr"].values == [30, 40, 30]
    assert set(curves.losses) == {"total", "l1"}


def test_evaluation_lines_are_scores_and_not_training(tmp_path):
    rows = [row("fine", 10, psnr=25), {"stage": "fine", "step": 10, "split": "test", "psnr": 24.0}]
    curves = read_curves(write_log(tmp_path, rows))
    assert curves.train["psnr"].values == [25]
    assert curves.scores["psnr"]["test"].values == [24.0]


def test_cut_lines_and_missing_or_bad_numbers_are_left_out(tmp_path):
    rows = [row("fine", 10, psnr=None, n_gaussians=5), {"stage": "fine"}, [1], row("fine", 20)]
    rows.append(row("fine", 30, loss=float("nan"), losses="none"))
    curves = read_curves(write_log(tmp_path, rows, tail='{"stage": "fine", "st'))
    assert "psnr" not in curves.train
    assert curves.train["n_gaussians"].values == [5]
    assert curves.losses["total"].steps == [10, 20]


def test_the_running_mean_of_a_line_is_the_line(tmp_path):
    log = write_log(tmp_path, [row("fine", s, psnr=2.0 * s) for s in range(100)])
    series = read_curves(log).train["psnr"]
    assert series.smoothed()[10:-10] == pytest.approx(series.values[10:-10])


@pytest.mark.long
@pytest.mark.parametrize("numbers", [{}, {"psnr": 20.0, "n_gaussians": 7, "it_per_s": 3.0}])
def test_a_picture_is_drawn_and_nothing_else_left(tmp_path, numbers):
    write_log(tmp_path, [row("coarse", s, **numbers) for s in (1, 2)])
    path = draw_curves(tmp_path)
    assert path == tmp_path / "curves.png"
    assert cv2.imread(str(path)).shape[1] > 800
    assert {file.name for file in tmp_path.iterdir()} == {"log.jsonl", "curves.png"}


def test_no_log_draws_nothing(tmp_path):
    assert draw_curves(tmp_path) is None
    write_log(tmp_path, [])
    assert draw_curves(tmp_path) is None
    assert not (tmp_path / "curves.png").exists()
