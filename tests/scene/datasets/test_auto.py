import pytest

from scene.datasets.auto import families, recognised
from tests.scene.datasets.reading import read
from tests.scene.datasets.tiny_folders import TINY
from utils.errors import InputError


def test_every_family_has_a_tiny_folder():
    assert set(TINY) == set(families())


@pytest.mark.parametrize("name", TINY)
def test_a_folder_is_recognised_by_its_own_family_alone(name, tmp_path):
    TINY[name](tmp_path)
    answers = {family: reader.recognise(tmp_path) for family, reader in families().items()}
    assert [family for family, why in answers.items() if why] == [name]


@pytest.mark.parametrize("name", TINY)
def test_auto_reads_what_the_family_reads_and_says_why(name, tmp_path, capsys):
    TINY[name](tmp_path)
    scene = read("auto", tmp_path)
    assert len(scene.train) == len(read(name, tmp_path).train)
    assert f"read as {name} (" in capsys.readouterr().out


def test_a_folder_that_fits_none_hears_what_was_looked_for(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError) as caught:
        recognised(tmp_path)
    for name in families():
        assert f"{name}: " in str(caught.value)


def test_a_folder_that_fits_two_is_not_guessed(tmp_path):
    TINY["dnerf"](tmp_path)
    TINY["hypernerf"](tmp_path)
    with pytest.raises(InputError, match=r"dnerf \(.*hypernerf \(.*--dataset"):
        recognised(tmp_path)


REAL = {
    "dnerf/lego": "dnerf",
    "dnerf_mujoco/scene9_topology": "dnerf",
    "hypernerf/handheld": "hypernerf",
    "dynerf/minions": "dynerf",
    "rgba_video/minions": "rgba_video",
    "rgba_video/blooming_rose": "rgba_video",
    "nerfblendshape/obama": "nerfblendshape",
    "nerface/obama": "nerface",
    "imavatar/obama256": "imavatar",
}


@pytest.mark.parametrize("folder", REAL)
def test_real_folders_are_recognised(folder, data_folder):
    assert recognised(data_folder / folder).name == REAL[folder]
