"""The folders that scripts/bench/memory.py trains on are what their families promise."""

import os

import numpy as np
import pytest

from scene.datasets.auto import recognised
from scripts.bench.memory import LAYOUTS, N_CAMERAS, RIG_HEIGHT, RIG_WIDTH, resident
from tests.scene.datasets.reading import pixel, read

pytestmark = pytest.mark.long

FAMILIES = {"clip": "dnerf", "pictures": "dynerf", "videos": "dynerf"}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_recognised(name, tmp_path):
    LAYOUTS[name].write(tmp_path / name, 2)
    assert recognised(tmp_path / name).name == FAMILIES[name]


def test_the_rig_has_its_size_and_looks_at_the_box(tmp_path):
    LAYOUTS["pictures"].write(tmp_path / "rig", 9)  # one more than there are different pictures
    scene = read("dynerf", tmp_path / "rig", resolution=2)
    assert (len(scene.test), len(scene.train)) == (9, 9 * (N_CAMERAS - 1))
    for frame in scene.train[::9]:
        assert (frame.camera.width, frame.camera.height) == (RIG_WIDTH, RIG_HEIGHT)
        middle = [RIG_WIDTH / 2, RIG_HEIGHT / 2]
        np.testing.assert_allclose(pixel(frame.camera, [0, 0, 0]), middle, atol=1e-3)


def test_the_processes_of_this_session_are_counted():
    assert resident(os.getsid(0)) > 2**20
    assert resident(-1) == 0
