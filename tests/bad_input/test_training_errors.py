"""NaN and infinity end a training with their name, and what was saved stays good."""

import math
import re

import pytest
import torch
from safetensors.torch import load_file

from arguments.settings import at_least
from tests.methods import CASES, EVERY
from training.stage import Loss

pytestmark = pytest.mark.long


@pytest.fixture(scope="module", params=EVERY)
def case(request):
    """Each method in turn, the one for the tests among them."""
    return CASES[request.param]


@pytest.fixture
def poisoned(case, refused, training, tmp_path, monkeypatch):
    """The line that ends a run with NaN in a row of a column from step 2 of every stage on."""
    on_step = case.type.on_step

    def call(column, save):
        def with_nan(self, step):
            on_step(self, step)
            if step == 2 and len(self.table):
                with torch.no_grad():
                    self.table.columns[column][3].fill_(math.nan)

        monkeypatch.setattr(case.type, "on_step", with_nan)
        longer = f"{case.first} 15 --iterations 15 --checkpoint_every 12 --save_iterations {save}"
        return refused(*training(tmp_path / "out"), *longer.split())

    return call


def test_nan_in_training_stops_with_its_name_and_keeps_the_checkpoint(
    case, refused, training, tmp_path, monkeypatch
):
    stages = case.type.stages

    def with_bad_loss(self):
        bad = Loss(
            "bad",
            lambda step: math.nan if step == 5 else 0.0,
            lambda renders, frames, step: frames[0].camera.K.sum(),
        )
        for stage in (found := stages(self)):
            stage.losses.append(bad)
        return found

    monkeypatch.setattr(case.type, "stages", with_bad_loss)
    line = refused(*training(tmp_path / "out"))
    assert (
        f"the loss at {case.last} step 5 is not finite: "
        "the first bad tensor is bad (1 of 1 numbers)" in line
    )
    assert "the last good checkpoint is kept" in line
    assert [path.name for path in (tmp_path / "out/checkpoints").iterdir()] == [f"{case.last}_3"]
    load_file(tmp_path / f"out/checkpoints/{case.last}_3/model.safetensors")


def test_a_huge_learning_rate_stops_with_the_parameter_s_name(
    refused, training, tmp_path, monkeypatch
):
    rates = ("--scaling_lr", "3e38", "--iterations", "30", "--checkpoint_every", "1")
    assert "scaling_lr is 3e+38, expected from 0 to 10" in refused(*training("out"), *rates)
    monkeypatch.setattr("arguments.schema.RATE", at_least(0))
    line = refused(*training(tmp_path / "out"), *rates)
    assert "is not finite: the first bad tensor is" in line
    for file in (tmp_path / "out").rglob("*.safetensors"):
        assert all(torch.isfinite(value).all() for value in load_file(file).values()), file


@pytest.mark.parametrize(("save", "found"), [(3, 3), (15, 10)])
def test_nan_that_the_picture_hides_is_found_before_it_is_saved(
    save, found, case, poisoned, tmp_path
):
    """The rasterizer skips a row whose size is NaN, so the loss stays finite."""
    line = poisoned("log_scales", save)
    assert f"the model after {case.drawing} step {found} is not finite" in line
    (bad,) = re.findall(r"table.columns.log_scales \((\d+) of \d+ numbers\)", line)
    assert int(bad) == 3 or case.method == "monogaussian"  # whose row may have had copies
    assert not list(tmp_path.glob(f"out/*/{case.drawing}*/*.safetensors"))


def test_nan_in_a_place_is_named_before_it_is_saved(case, poisoned, tmp_path):
    """It hides as well, and reaches all other rows through networks that read the places."""
    line = poisoned(case.place, save=3)
    # A loss that looks at the places themselves finds it before a look at the model does.
    assert re.search(rf"{case.drawing} step [23] is not finite", line)
    assert f"the first bad tensor is table.columns.{case.place} (" in line
    assert not list(tmp_path.glob(f"out/*/{case.drawing}*/*.safetensors"))
