"""A trained model stands alone: without its dataset and elsewhere it is drawn to the same bytes."""

import shutil
from types import SimpleNamespace

import pytest
import torch

from arguments import parse_render_args
from render import render_model
from scene.facts import FILES, SceneFacts
from tests.methods import CASES, EVERY, SMALL_STEPS, TWO
from utils.errors import run_command
from utils.tensors import read_tensors, write_tensors

pytestmark = pytest.mark.long

NEWER = {"fourdgs": "step", "gaussianhead": "active_sh_degree"}  # what older versions did not save


@pytest.fixture(scope="module", params=EVERY)
def case(request):
    """Each method in turn, the one for the tests among them."""
    return CASES[request.param]


@pytest.fixture
def beside(case, small_models):
    """A folder that holds `data` and a model of it, `model`."""
    return small_models(case)


@pytest.fixture
def render(capfd):
    """render.py on a model, as its users call it."""

    def call(model, *flags):
        argv = ["--model_path", str(model), "--quiet", *map(str, flags)]
        capfd.readouterr()
        try:
            run_command(lambda: render_model(*parse_render_args(argv)), debug=False)
            code = 0
        except SystemExit as stop:
            code = stop.code
        said = capfd.readouterr()
        return SimpleNamespace(code=code, said=said.out, errors=said.err)

    return call


@pytest.fixture
def data_away(beside):
    """Called, it moves the dataset to another folder, which it returns, until the test ends."""
    away = beside / "elsewhere"

    def call():
        (beside / "data").rename(away)
        return away

    yield call
    if away.exists():
        away.rename(beside / "data")


@pytest.fixture
def shown(case, beside, tmp_path):
    """Flags of all that needs no picture, and the names of its folders."""
    flags, names = ["--novel_view"], {"video", "novel_view"}
    if "expression" in SceneFacts.read(folder_of(beside / "model")).conditions:
        flags += ["--novel_expression", "--drive", case.write(tmp_path / "driver")]
        names |= {"novel_expression", "drive"}
    return flags, names


def folder_of(model):
    return model / f"point_cloud/iteration_{SMALL_STEPS}"


def drawn(model):
    """Bytes of everything under a folder of views, by name; how fast it was drawn left out."""
    files = [path for path in model.glob("*/ours_*/**/*") if path.is_file()]
    return {str(p.relative_to(model)): p.read_bytes() for p in files if p.name != "views.json"}


def fresh(source, target):
    """A copy of a model without what was drawn of it."""
    keep = ("config.json", "point_cloud")
    target.mkdir(parents=True)
    shutil.copy(source / keep[0], target)
    shutil.copytree(source / keep[1], target / keep[1])
    return target


def test_without_its_data_a_model_is_drawn_to_the_same_bytes_elsewhere(
    beside, shown, render, data_away, tmp_path
):
    flags, names = shown
    first = fresh(beside / "model", tmp_path / "here")
    assert render(first, *flags).code == 0
    moved = fresh(beside / "model", tmp_path / "far" / "away")
    data_away()
    outcome = render(moved, *flags)
    assert outcome.code == 0
    before, after = drawn(first), drawn(moved)
    alone = {name: data for name, data in before.items() if name.split("/")[0] in names}
    assert {f"{name}/ours_{SMALL_STEPS}/video_rgb.mp4" for name in names} <= alone.keys()
    assert after == alone
    (missing,) = [line for line in outcome.said.splitlines() if str(beside / "data") in line]
    assert "name the dataset's folder with -s" in missing


@pytest.mark.methods(*TWO)
def test_without_its_data_test_views_alone_are_refused_with_the_way_out(
    beside, render, data_away, tmp_path
):
    model = fresh(beside / "model", tmp_path / "model")
    there = data_away()
    views = ("--skip_video", "--skip_train")
    refused = render(model, *views)
    assert refused.code == 2
    (line,) = refused.errors.splitlines()
    assert line.startswith(f"error: {beside / 'data'}: ")
    assert "name the dataset's folder with -s" in line
    assert not list(model.glob("test/*"))
    assert render(model, *views, "-s", there).code == 0
    assert list(model.glob(f"test/ours_{SMALL_STEPS}/gt/*.png"))


@pytest.mark.methods(*TWO)
@pytest.mark.parametrize("name", FILES)
def test_damaged_facts_stop_render_in_one_line(name, beside, render, tmp_path):
    model = fresh(beside / "model", tmp_path / "model")
    file = folder_of(model) / name
    file.write_bytes(file.read_bytes()[:-50])
    refused = render(model)
    assert refused.code == 2
    (line,) = refused.errors.splitlines()
    assert line.startswith(f"error: {file}: ")


def as_the_version_before(method, model):
    """Take away what older versions did not write, and add what they did."""
    folder = folder_of(model)
    for name in FILES:
        (folder / name).unlink()
    state = read_tensors(folder / "model.safetensors")
    del state[NEWER[method]]
    for name in ("condition", "code"):
        if f"{name}.mean" in state:
            ends = torch.zeros_like(state[f"{name}.mean"])
            state |= {f"{name}.{end}": ends.clone() for end in ("low", "high")}
    write_tensors(folder / "model.safetensors", state)


@pytest.mark.methods(*NEWER)
def test_a_folder_of_the_version_before_is_drawn_beside_its_data_and_refused_without(
    case, beside, shown, render, data_away, tmp_path
):
    flags, _ = shown
    today, older = (fresh(beside / "model", tmp_path / name) for name in ("today", "older"))
    as_the_version_before(case.method, older)
    assert render(today, *flags).code == render(older, *flags).code == 0
    assert drawn(older) == drawn(today)
    data_away()
    refused = render(older, *flags)
    assert refused.code == 2
    assert refused.errors.startswith(f"error: {beside / 'data'}: there is no such folder")
