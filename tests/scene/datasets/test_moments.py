"""What all readers of scenes promise of the moments of their frames."""

import pytest
import torch

from scene.cameras import Camera, intrinsics
from scene.datasets._moments import last_moments
from scene.datasets._settings import HoldOut
from scene.frames import NO_ROW, Frame
from scene.world import Placed
from tests.scene.datasets.reading import read
from tests.scene.datasets.tiny_folders import TINY
from utils.errors import InputError

SCENES = ("colmap", "dnerf", "dynerf", "hypernerf", "rgba_video", "ub4d")


@pytest.mark.parametrize("name", SCENES)
def test_a_novel_path_runs_between_the_moments_of_the_dataset(name, tmp_path):
    TINY[name](tmp_path)
    video = read(name, tmp_path).video
    assert {frame.index for frame in video} == {NO_ROW}
    times = [frame.time for frame in video]
    assert (times[0], times[-1]) == (0, 1)
    assert times == sorted(times)


def split(moments, **held):
    """Rows of the training and of the test frames of a video."""
    camera = Camera(torch.eye(4), intrinsics(20.0, 20.0, 8.0, 8.0), 16, 16)
    frames = [Frame(camera, k, k / moments) for k in range(moments)]
    train, test = last_moments(frames, Placed(source_path="here", eval=True), HoldOut(**held))
    assert sorted(f.index for f in [*train, *test]) == list(range(moments))
    return [frame.index for frame in train], [frame.index for frame in test]


def test_the_end_of_a_video_is_held_out():
    assert split(50, hold_out=0.2)[1] == list(range(40, 50))
    assert split(50, hold_out=7)[1] == list(range(43, 50))


def test_blocks_are_held_out_evenly_over_a_video():
    assert split(50, hold_out=0.2, hold_out_blocks=5)[1] == [*range(20, 25), *range(45, 50)]
    test = split(728, hold_out=0.2, hold_out_blocks=25)[1]
    blocks = {k // 25 for k in test}
    assert all({*range(25 * b, min(25 * b + 25, 728))} <= set(test) for b in blocks)
    assert len(test) == pytest.approx(0.2 * 728, abs=25)
    gaps = [b - a for a, b in zip(sorted(blocks), sorted(blocks)[1:], strict=False)]
    assert set(gaps) == {5}


def test_blocks_that_leave_nothing_to_test_or_to_train_on_are_refused():
    with pytest.raises(InputError, match="here: hold_out_blocks=60 holds out 0 of 50 moments"):
        split(50, hold_out=0.2, hold_out_blocks=60)
