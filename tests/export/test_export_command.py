"""export.py as its users call it, on a model of every method."""

import importlib.util
import re

import numpy as np
import pytest
import torch

from arguments import parse_model_args
from arguments.settings import ExportParams
from export import compressed_ply, ply
from export.formats import MODULES
from scene.facts import SceneFacts
from tests.methods import CASES, EVERY, ROOT, TWO
from utils.errors import InputError

pytestmark = pytest.mark.long

_spec = importlib.util.spec_from_file_location("export_command", ROOT / "export.py")
command = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(command)  # by its path: the room has the same name


@pytest.fixture(scope="module", params=EVERY)
def case(request):
    """Each method in turn, the one for the tests among them."""
    return CASES[request.param]


@pytest.fixture
def model(case, small_models):
    """The folder of a small trained model."""
    return small_models(case) / "model"


@pytest.fixture
def export(model, capsys):
    """Call it with flags; what it said comes back."""

    def call(file, *flags):
        argv = ["-m", str(model), "-o", str(file), "--quiet", *map(str, flags)]
        command.export_model(*parse_model_args("export.py", ExportParams, argv))
        return capsys.readouterr().out

    return call


def lost(said):
    """dB; infinite for what is exact."""
    found = re.search(r"5 views: (exact|([\d.]+) dB)", said)
    return float(found[2] or "inf")


def written(suffix, export, tmp_path):
    said = export(tmp_path / f"a{suffix}", "--moments", 3)
    assert f"a{suffix}: " in said
    assert lost(said) > 30  # a picture that was turned, or of another moment, has less than 25


@pytest.mark.methods(*TWO)
@pytest.mark.parametrize("suffix", MODULES)
def test_every_format_is_written_and_says_what_it_lost(suffix, export, tmp_path):
    written(suffix, export, tmp_path)


@pytest.mark.methods(*sorted({*EVERY} - {*TWO}))
@pytest.mark.parametrize("suffix", [".ply", ".html"])
def test_every_method_is_written_at_rest_and_moving(suffix, export, tmp_path):
    written(suffix, export, tmp_path)


@pytest.mark.methods(*TWO)
@pytest.mark.parametrize("suffix", [".ply", ".4dgs"])
def test_pruning_leaves_out_what_shows_least_and_says_what_that_lost(suffix, export, tmp_path):
    said = [export(tmp_path / f"{k}{suffix}", "--moments", 2, "--prune", k / 10) for k in (0, 3, 9)]
    rows = [int(re.search(r"([\d,]+) Gaussians", line)[1].replace(",", "")) for line in said]
    assert rows[1:] == [rows[0] - int(share * rows[0]) for share in (0.3, 0.9)]
    assert lost(said[0]) > lost(said[1]) > lost(said[2])
    if suffix == ".ply":
        assert len(ply.read_one(tmp_path / "3.ply").means) == rows[1]


def test_a_moment_is_not_the_canonical_model(export, tmp_path):
    for k, flags in enumerate(([], ["--time", 0], ["--time", 1], ["--frame", 0])):
        export(tmp_path / f"{k}.ply", *flags)
    means = [ply.read_one(tmp_path / f"{k}.ply").means for k in range(4)]
    assert not torch.equal(means[0], means[1])
    assert not torch.equal(means[1], means[2])
    assert means[3].shape == means[0].shape


def test_where_the_dataset_has_it_the_file_is_that_of_training(model, export, tmp_path):
    export(tmp_path / "a.ply", "--axes", "dataset")
    (trained,) = model.glob("point_cloud/iteration_*/point_cloud.ply")
    ours, theirs = ply.read_one(tmp_path / "a.ply"), ply.read_one(trained)
    assert torch.equal(ours.means, theirs.means)
    torch.testing.assert_close(ours.sh, theirs.sh[:, : ours.sh.shape[1]], atol=1e-6, rtol=0)


def test_upright_is_what_the_cameras_call_up(model, export, tmp_path):
    """The tiny scenes have one axis up, as their cameras are held: Blender's z, a head's y."""
    (folder,) = model.glob("point_cloud/iteration_*")
    axis = SceneFacts.read(folder).up.round()
    assert float(axis.norm()) == 1
    export(tmp_path / "own.ply", "--axes", "dataset")
    export(tmp_path / "up.ply")
    own, up = (ply.read_one(tmp_path / name).means for name in ("own.ply", "up.ply"))
    torch.testing.assert_close(-up[:, 1], own @ axis, atol=1e-6, rtol=0)


@pytest.mark.methods(*TWO)
def test_a_sequence_is_numbered_and_moves(export, tmp_path):
    said = export(tmp_path / "walk.compressed.ply", "--all", "--moments", 3)
    files = sorted(tmp_path.glob("walk_*.compressed.ply"))
    assert [file.name for file in files] == [f"walk_{k:05d}.compressed.ply" for k in range(3)]
    assert "walk_00000.compressed.ply to walk_00002.compressed.ply: " in said
    first, last = (compressed_ply.read_one(file).means for file in (files[0], files[2]))
    assert not torch.equal(first, last)


@pytest.mark.methods(*TWO)
def test_padding_adds_harmonics_that_say_nothing(export, tmp_path):
    assert lost(export(tmp_path / "a.ply", "--pad")) > 100
    sh = ply.read_one(tmp_path / "a.ply").sh.numpy()
    assert sh.shape[1] == 16
    assert np.any(sh[:, 0])


@pytest.mark.methods("fourdgs")
@pytest.mark.parametrize(
    ("name", "flags", "words"),
    [
        ("a.obj", (), "its suffix names no format"),
        ("a.ply", ("--time", 0.5, "--frame", 1), "both choose the moment"),
        ("a.ply", ("--time", 0.5, "--all"), "choose one moment"),
        ("a.ply", ("--time", -0.5), "expected 0 to 1"),
        ("a.ply", ("--frame", 1000), "the model knows the moments 0 to"),
    ],
)
def test_what_does_not_fit_is_refused(name, flags, words, export, tmp_path):
    with pytest.raises(InputError, match=words):
        export(tmp_path / name, *flags)
    assert not list(tmp_path.iterdir())
