"""Stages that draw nothing and stages that begin once, in the loop of train.py, with every
method."""

import json
from dataclasses import replace
from functools import partial

import pytest

from arguments import parse_train_args
from scene.methods import saved_iterations
from train import train
from training.optimizers import ParamGroup
from training.schedules import constant
from training.stage import Loss, Stage
from training.strategies import Keep

pytestmark = pytest.mark.long

FLAGS = "--init_points 60 --quiet --cache_mb 10 --save_iterations 10 --checkpoint_iterations 5"


@pytest.fixture
def begun(case, monkeypatch):
    """Names of stages in the order they began; a stage that draws nothing comes first."""
    stages, names = case.type.stages, []

    def with_points(self):
        columns = self.table.columns
        points = Stage(
            "points",
            10,
            None,
            [ParamGroup("place", lambda: [columns[case.place]], constant(0.01))],
            [
                Loss(
                    "size",
                    constant(1.0),
                    lambda renders, frames, step: columns[case.place].square().mean(),
                )
            ],
            Keep(),
        )
        every = [points, *stages(self)]
        return [replace(stage, begin=partial(names.append, stage.name)) for stage in every]

    monkeypatch.setattr(case.type, "stages", with_points)
    return names


def run(case, scene, out, *more):
    flags = ["-s", str(scene), "-m", str(out), *case.flags(iterations=12, first=6), *FLAGS.split()]
    return train(parse_train_args([*flags, *more]))


def test_a_stage_that_draws_nothing_is_trained_logged_and_saved(case, tiny_folder, begun, tmp_path):
    run(case, tiny_folder, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    first = [row for row in rows if row["stage"] == "points"]
    assert [row["step"] for row in first] == [10]
    assert "psnr" not in first[0]
    assert first[0]["losses"].keys() == {"size"}
    assert not list(tmp_path.glob("sheets/points*"))
    assert list(tmp_path.glob(f"sheets/{case.last}*"))
    exported = {path.name for path in (tmp_path / "point_cloud").iterdir()}
    assert "points_iteration_10" in exported
    assert saved_iterations(tmp_path) == [10, 12]


def test_a_stage_begins_once_and_not_again_when_it_is_resumed(case, tiny_folder, begun, tmp_path):
    folder = run(case, tiny_folder, tmp_path / "unbroken")
    assert begun == ["points", *case.stages]
    begun.clear()
    start = tmp_path / "unbroken/checkpoints/points_5"
    again = run(case, tiny_folder, tmp_path / "resumed", "--start_checkpoint", str(start))
    assert begun == list(case.stages)
    names = [path.name for path in folder.iterdir()]
    assert all((again / n).read_bytes() == (folder / n).read_bytes() for n in names)
