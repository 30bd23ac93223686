from itertools import islice
from types import SimpleNamespace

import pytest

from training.samplers import Shuffled, first_moment


def test_every_pass_shows_every_frame_once_in_a_new_order():
    frames = list(range(7))
    seen = [b[0] for b in islice(Shuffled()(frames, "fine", 0, 0), 14)]
    assert sorted(seen[:7]) == sorted(seen[7:]) == frames
    assert seen[:7] != seen[7:]


@pytest.mark.parametrize("batch_size", [1, 2, 3])
@pytest.mark.parametrize("start", [0, 1, 5, 11])
def test_a_resumed_sampler_yields_what_the_unbroken_one_would(batch_size, start):
    frames = list(range(7))
    unbroken = list(islice(Shuffled(batch_size)(frames, "fine", 3, 0), 20))
    resumed = list(islice(Shuffled(batch_size)(frames, "fine", 3, start), 20 - start))
    assert resumed == unbroken[start:]


def test_first_moment_leaves_later_frames_out():
    frames = [SimpleNamespace(time=t) for t in (0.5, 0.0, 0.0, 1.0)]
    seen = {id(b[0]) for b in islice(Shuffled(choose=first_moment)(frames, "fine", 0, 0), 6)}
    assert seen == {id(frames[1]), id(frames[2])}
