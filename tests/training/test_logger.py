import json
from dataclasses import replace

import pytest
import torch

from gaussian_renderer import Render
from scene.cameras import Camera, intrinsics
from scene.frames import Frame
from scene.gaussian_model import Gaussians
from scoring.curves import draw_curves
from scoring.evaluate import Evaluation
from training.logger import LOG_EVERY, Logger
from utils.images import read_image


@pytest.fixture
def view():
    rows = torch.zeros(7, 3)
    gaussians = Gaussians(rows, torch.zeros(7, 4), rows, rows[:, :1], colors=rows)
    image = torch.full((3, 8, 8), 0.5)
    render = Render(
        image, image[:1], image[:1], torch.zeros(7, dtype=torch.int32), rows, gaussians, None, False
    )
    camera = Camera(torch.eye(4), intrinsics(8.0, 8.0, 4.0, 4.0), 8, 8)
    return [render], [Frame(camera, 0, 0.0, image=torch.full((3, 8, 8), 0.6))]


def log_steps(folder, view, stage, start, iterations, *, stop=None, quiet=True):
    logger = Logger(folder, quiet=quiet)
    for step in logger.steps(stage, start, iterations):
        logger.step(stage, step, {"l1": torch.tensor(0.25), "planes": torch.tensor(0.5)}, *view, 7)
        if step == stop:
            return
    logger.close()


def rows(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_line_says_what_the_step_had(tmp_path, view):
    log_steps(tmp_path, view, "fine", 0, LOG_EVERY)
    (row,) = rows(tmp_path)
    assert (row["stage"], row["step"], row["n_gaussians"]) == ("fine", LOG_EVERY, 7)
    assert row["loss"] == 0.75
    assert row["losses"] == {"l1": 0.25, "planes": 0.5}
    assert row["psnr"] == pytest.approx(20.0, abs=1e-4)
    assert row["it_per_s"] > 0


def test_the_first_view_that_has_a_picture_is_scored(tmp_path, view):
    (render,), (frame,) = view
    dark = replace(render, image=torch.zeros(3, 8, 8))
    views = [dark, render], [replace(frame, image=None), frame]
    log_steps(tmp_path, views, "fine", 0, LOG_EVERY)
    assert rows(tmp_path)[0]["psnr"] == pytest.approx(20.0, abs=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("drawn", [True, False])
def test_without_any_picture_there_is_no_psnr_and_bar_and_curves_work(
    tmp_path, view, drawn, capsys, monkeypatch
):
    monkeypatch.setattr("training.logger.draw_curves", draw_curves)
    renders, (frame,) = view
    views = (renders if drawn else []), [replace(frame, image=None)]
    log_steps(tmp_path, views, "points", 0, 3 * LOG_EVERY, quiet=False)
    assert [row["step"] for row in rows(tmp_path)] == [10, 20, 30]
    assert all(row["loss"] == 0.75 and "psnr" not in row for row in rows(tmp_path))
    assert read_image(tmp_path / "curves.png").shape[2] >= 3
    bar = capsys.readouterr().err
    assert "loss=0.75" in bar
    assert "gaussians=7" in bar
    assert "psnr" not in bar


def test_lines_after_the_resumed_step_are_dropped_and_written_anew(tmp_path, view):
    log_steps(tmp_path, view, "coarse", 0, 20)
    log_steps(tmp_path, view, "fine", 0, 60, stop=40)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('[]\n3\n{}\n{"stage": "fine"}\n' + "[" * 100_000 + "\n")  # no lines of ours
        file.write('{"stage": "fine", "st')  # a kill cut this line
    log_steps(tmp_path, view, "fine", 20, 60)
    steps = [(row["stage"], row["step"]) for row in rows(tmp_path)]
    assert steps == [
        ("coarse", 10),
        ("coarse", 20),
        *[("fine", step) for step in range(10, 61, 10)],
    ]


def test_an_evaluation_is_a_line_and_a_sheet(tmp_path):
    picture = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    scores = {"psnr": 30.0, "fg_psnr": None, "ssim": 0.9}
    Logger(tmp_path, quiet=True).evaluation(
        "fine", 30, "test", Evaluation(scores, [(picture, picture)])
    )
    assert rows(tmp_path) == [{"stage": "fine", "step": 30, "split": "test", **scores}]
    assert (tmp_path / "sheets" / "fine_000030_test.png").is_file()


def test_quiet_says_nothing_and_loud_says_it(tmp_path, capsys):
    Logger(tmp_path, quiet=True).say("hidden")
    Logger(tmp_path, quiet=False).say("shown")
    assert capsys.readouterr().out == "shown\n"


def test_a_logger_that_logs_nothing_leaves_nothing(tmp_path):
    Logger(tmp_path, quiet=True).say("hello")
    assert list(tmp_path.iterdir()) == []
