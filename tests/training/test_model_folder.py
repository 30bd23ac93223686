"""A run's folder: held, apart from the data, and never emptied of what is not ours."""

import os
from dataclasses import replace

import pytest

from arguments import load_settings, parse_train_args
from tests.tiny_scene import write_tiny_scene
from training.model_folder import begin_run, open_model_folder, require_apart
from utils.errors import InputError
from utils.files import own_folder


@pytest.fixture
def settings(tmp_path):
    return parse_train_args(["-s", "data/none", "-m", str(tmp_path / "out")])


def with_checkpoint(settings):
    """As a run leaves its folder."""
    with open_model_folder(settings) as folder:
        begin_run(settings, folder)
        (folder / "checkpoints" / "coarse_5").mkdir(parents=True)
        (folder / "checkpoints" / "coarse_5" / "state.json").write_text("{}")
    return folder


def test_a_folder_made_for_nothing_is_removed_and_others_stay(settings, tmp_path):
    with open_model_folder(settings) as folder:
        assert folder.is_dir()
    assert not folder.exists()
    folder.mkdir()
    with open_model_folder(settings):
        pass
    assert folder.is_dir()


def test_the_folder_is_held_until_the_block_ends(settings):
    with open_model_folder(settings) as folder:
        with (
            pytest.raises(InputError, match="another run is writing there"),
            open_model_folder(settings),
        ):
            pass
        assert folder.is_dir()
    with open_model_folder(settings):
        pass


def test_the_settings_are_written_and_the_same_command_goes_on(settings):
    folder = with_checkpoint(settings)
    assert load_settings(folder / "config.json") == settings
    with open_model_folder(replace(settings, run=replace(settings.run, port=1, quiet=True))):
        pass


def test_other_settings_are_refused_only_where_there_is_a_checkpoint(settings):
    other = replace(settings, run=replace(settings.run, seed=3))
    with open_model_folder(settings) as folder:
        begin_run(settings, folder)
    with open_model_folder(other):
        pass
    with_checkpoint(settings)
    with pytest.raises(InputError, match=r"other settings \(seed\)"), open_model_folder(other):
        pass


def test_restart_removes_what_a_run_wrote_and_nothing_else(settings):
    folder = with_checkpoint(settings)
    (folder / "notes.txt").write_text("mine")
    (folder / "log.jsonl").write_text("")
    begin_run(replace(settings, run=replace(settings.run, restart=True)), folder)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "notes.txt"]


def restarted(settings):
    return replace(settings, run=replace(settings.run, restart=True))


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(settings, words):
    with pytest.raises(InputError, match=words), open_model_folder(settings):
        pass


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("out", [".", "..", "new/out", "link"])
def test_a_dataset_is_no_output_folder_nor_holds_or_lies_in_one(tmp_path, out, restart):
    data = write_tiny_scene(tmp_path / "all" / "data")
    (tmp_path / "link").symlink_to(data)
    place = tmp_path / "link" if out == "link" else data / out
    settings = parse_train_args(["-s", str(data), "-m", str(place)])
    before = files(tmp_path)
    refused(restarted(settings) if restart else settings, "is, holds or lies in the dataset's")
    assert files(tmp_path) == before
    assert not (data / "new").exists()


def test_folders_side_by_side_are_apart(tmp_path):
    require_apart(tmp_path / "data_out", str(tmp_path / "data"))


def test_restart_removes_nothing_where_no_run_was(settings, tmp_path):
    data = write_tiny_scene(tmp_path / "out")
    (data / "train" / "ours_1").mkdir()
    before = files(data)
    refused(restarted(settings), "--restart would remove train/ours_1, but neither")
    assert files(data) == before


def test_restart_removes_what_we_drew_and_leaves_pictures_beside_it(settings):
    folder = with_checkpoint(settings)
    for name in ("train/ours_5/renders", "test/ours_5", "test/mine", "point_cloud/iteration_5"):
        (folder / name).mkdir(parents=True)
    (folder / "train" / "r_000.png").write_text("mine")
    (folder / "notes.html").write_text("mine")
    with open_model_folder(restarted(settings)):
        begin_run(restarted(settings), folder)
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    expected = ["config.json", "notes.html", "test", "test/mine", "train", "train/r_000.png"]
    assert found == expected


@pytest.mark.parametrize("name", ["checkpoints", "point_cloud", "sheets", "test", "test/ours_5"])
@pytest.mark.parametrize("restart", [False, True])
def test_a_link_in_a_run_s_folder_is_refused_and_what_it_names_stays(
    settings, tmp_path, name, restart
):
    folder = with_checkpoint(settings)
    elsewhere = write_tiny_scene(tmp_path / "elsewhere")
    link = folder / name
    link.parent.mkdir(exist_ok=True)
    if link.exists():
        link.rename(tmp_path / "aside")
    link.symlink_to(elsewhere)
    before = files(elsewhere)
    refused(restarted(settings) if restart else settings, f"{name}: it is a link")
    assert files(elsewhere) == before


def test_a_log_that_is_a_link_is_refused(settings, tmp_path):
    folder = with_checkpoint(settings)
    (folder / "log.jsonl").symlink_to(tmp_path / "profile")  # which need not be there
    refused(settings, r"log\.jsonl: it is a link")


def test_a_file_where_a_folder_is_expected_is_one_line(settings, tmp_path):
    folder = with_checkpoint(settings)
    (folder / "sheets").write_text("mine")
    refused(settings, "sheets: it is no folder")
    with pytest.raises(InputError, match="sheets: it is no folder"):
        own_folder(folder, folder / "sheets" / "deeper")
    assert own_folder(folder, folder / "new" / "deeper") == folder / "new" / "deeper"


def test_a_folder_that_is_not_utf8_is_refused_before_it_is_made(tmp_path):
    folder = tmp_path / os.fsdecode(b"\xff\xfe")
    settings = parse_train_args(["-s", "data/none", "-m", str(folder)])
    with pytest.raises(InputError, match="is not UTF-8"), open_model_folder(settings):
        pass
    assert not folder.exists()
