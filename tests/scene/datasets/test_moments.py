"""What all readers of scenes promise of the moments of their frames."""

import pytest

from scene.frames import NO_ROW
from tests.scene.datasets.reading import read
from tests.scene.datasets.tiny_folders import TINY

SCENES = ("colmap", "dnerf", "dynerf", "hypernerf", "rgba_video", "ub4d")


@pytest.mark.parametrize("name", SCENES)
def test_a_novel_path_runs_between_the_moments_of_the_dataset(name, tmp_path):
    TINY[name](tmp_path)
    video = read(name, tmp_path).video
    assert {frame.index for frame in video} == {NO_ROW}
    times = [frame.time for frame in video]
    assert (times[0], times[-1]) == (0, 1)
    assert times == sorted(times)
