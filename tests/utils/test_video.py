"""Videos: what goes in comes out, whole or not at all, the same bytes each time."""

from __future__ import annotations

import imageio.v3 as imageio
import numpy as np
import pytest
import torch

from utils import video
from utils.errors import InputError
from utils.video import VideoWriter


def gradient(k, *, width, height):
    """A smooth picture whose brightness grows with k."""
    x = torch.linspace(0.1, 0.6, width).expand(height, width)
    return torch.stack([x, x.flip(1), torch.full_like(x, 0.1 + 0.03 * k)])


def write(path, count, *, width=64, height=48):
    with VideoWriter(path, fps=30) as writer:
        for k in range(count):
            writer.add(gradient(k, width=width, height=height))


def test_frames_come_back_in_order_and_colour(tmp_path):
    path = tmp_path / "new" / "a.mp4"
    write(path, 12)
    frames = imageio.imread(path, plugin="FFMPEG")
    assert frames.shape == (12, 48, 64, 3)
    for k, frame in enumerate(frames):
        truth = gradient(k, width=64, height=48).permute(1, 2, 0).numpy() * 255
        assert np.abs(frame - truth).mean() < 4
    assert [p.name for p in path.parent.iterdir()] == ["a.mp4"]


def test_file_is_h264_yuv420p_at_the_given_rate(tmp_path):
    write(tmp_path / "a.mp4", 3)
    facts = imageio.immeta(tmp_path / "a.mp4", plugin="FFMPEG")
    assert facts["codec"] == "h264"
    assert facts["pix_fmt"].startswith("yuv420p")
    assert facts["fps"] == 30


def test_odd_sizes_are_padded_by_one(tmp_path):
    write(tmp_path / "a.mp4", 2, width=33, height=21)
    assert imageio.imread(tmp_path / "a.mp4", plugin="FFMPEG").shape == (2, 22, 34, 3)


def test_same_frames_give_the_same_bytes(tmp_path):
    write(tmp_path / "a.mp4", 8)
    write(tmp_path / "b.mp4", 8)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_an_error_leaves_the_old_file_and_no_other(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"old")

    def interrupted():
        with VideoWriter(tmp_path / "a.mp4", fps=30) as writer:
            writer.add(gradient(0, width=64, height=48))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "a.mp4").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_video_without_frames_is_not_written(tmp_path):
    write(tmp_path / "a.mp4", 0)
    assert list(tmp_path.iterdir()) == []


def test_frame_of_another_size_is_refused(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", fps=30) as writer:
        writer.add(gradient(0, width=64, height=48))
        with pytest.raises(ValueError, match=r"the frame is \(48, 62, 3\); expected \(48, 64, 3\)"):
            writer.add(gradient(0, width=62, height=48))
        writer.add(gradient(1, width=64, height=48))
    assert len(imageio.imread(tmp_path / "a.mp4", plugin="FFMPEG")) == 2


def test_failing_encoder_is_one_sentence_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "ENCODER_FLAGS", ["-vcodec", "no_such_codec"])
    with pytest.raises(InputError, match=r"a\.mp4: cannot be written \(ffmpeg: .*\)"):
        write(tmp_path / "a.mp4", 3)
    assert list(tmp_path.iterdir()) == []


def test_a_video_that_the_disk_cut_short_is_refused(tmp_path, monkeypatch):
    whole = video._is_whole

    def cut_and_look(path):
        assert whole(path)
        path.write_bytes(path.read_bytes()[:-1])
        return whole(path)

    monkeypatch.setattr(video, "_is_whole", cut_and_look)
    with pytest.raises(InputError, match=r"a\.mp4: cannot be written \(ffmpeg: it could not"):
        write(tmp_path / "a.mp4", 3)
    assert list(tmp_path.iterdir()) == []


def test_missing_ffmpeg_says_what_to_install(tmp_path, monkeypatch):
    import imageio_ffmpeg

    def missing():
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
    with pytest.raises(InputError, match="pip install imageio-ffmpeg"):
        write(tmp_path / "a.mp4", 1)
