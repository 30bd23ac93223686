"""Scores per held-out video: which view belongs to which video, and what is missing is said."""

from __future__ import annotations

import pytest

from arguments import parse_train_args, save_settings
from scripts.demo.talking_head.scores import video_scores
from scripts.demo.toy_head import toy_head
from scripts.make_demo_head import DemoSettings, make_demo_head
from utils.errors import InputError
from utils.files import write_json

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scores")
    settings = DemoSettings(size=16, frames=10, driving=3)
    make_demo_head(folder / "data", toy_head(), settings, workers=1)
    model = folder / "model"
    model.mkdir()
    source = ("-s", str(folder / "data" / "imavatar" / "demo_head"), "-m", str(model))
    flags = [*source, "--configs", "arguments/imavatar/demo_head.py", "--head_model", ""]
    save_settings(parse_train_args(flags), model / "config.json")
    return model


def write_scores(model, values):
    views = {f"{k:05d}.png": value for k, value in enumerate(values)}
    older = {"PSNR": dict.fromkeys(views, 0.0)}
    write_json(model / "per_view.json", {"ours_900": older, "ours_1000": {"PSNR": views}})


def test_each_video_gets_the_mean_of_its_own_views_at_the_last_step(model):
    # driving comes first: 3 frames; then the last two of ten frames of monologue.
    write_scores(model, [10.0, 20.0, 30.0, 40.0, None])
    scores = video_scores(model)
    assert {video: count for video, (count, _) in scores.items()} == {"driving": 3, "test": 2}
    assert scores["driving"][1] == {"PSNR": 20.0, "SSIM": None, "PSNR-mouth": None}
    assert scores["test"][1]["PSNR"] == 40.0


def test_scores_of_other_data_are_refused(model):
    write_scores(model, [10.0, 20.0])
    with pytest.raises(InputError, match="2 views are scored, the data holds 5 out"):
        video_scores(model)
