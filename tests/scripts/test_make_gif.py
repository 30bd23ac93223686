"""A GIF plays what the video showed, as fast, and in no more bytes than it may have."""

import numpy as np
import pytest
from PIL import Image

from scripts.make_gif import make_gif
from utils.errors import InputError
from utils.video import VideoWriter

COUNT, FPS = 10, 20


@pytest.fixture
def video(tmp_path):
    """A square that walks over noise of many colours."""
    noise = np.random.default_rng(0).integers(60, 200, (32, 48, 3), np.uint8)
    with VideoWriter(tmp_path / "a.mp4", fps=FPS) as writer:
        for k in range(COUNT):
            picture = noise.copy()
            picture[8:24, 4 * k : 4 * k + 8] = (250, 20, 20)
            writer.add(picture)
    return tmp_path / "a.mp4"


def frames_of(file):
    with Image.open(file) as gif:
        for k in range(gif.n_frames):
            gif.seek(k)
            yield np.array(gif.convert("RGB")).astype(int), gif.info["duration"]


def test_every_second_frame_is_shown_twice_as_long(video, tmp_path):
    make_gif(video, tmp_path / "a.gif", width=48, every=2, megabytes=2)
    frames = list(frames_of(tmp_path / "a.gif"))
    assert [duration for _, duration in frames] == [100] * 5
    for k, (picture, _) in enumerate(frames):
        red = (picture[..., 0] - picture[..., 1] > 120)[16]
        assert abs(np.flatnonzero(red).mean() - (8 * k + 3.5)) < 1.5


def test_fewer_colours_make_it_small_enough_and_too_few_are_refused(video, tmp_path):
    make_gif(video, tmp_path / "a.gif", width=48, every=1, megabytes=1)
    size = (tmp_path / "a.gif").stat().st_size
    make_gif(video, tmp_path / "b.gif", width=48, every=1, megabytes=0.8 * size / 1e6)
    assert (tmp_path / "b.gif").stat().st_size <= 0.8 * size
    with pytest.raises(InputError, match=r"a\.mp4: .*lower --width"):
        make_gif(video, tmp_path / "c.gif", width=48, every=1, megabytes=1e-4)
    assert not (tmp_path / "c.gif").exists()
