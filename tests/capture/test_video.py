"""Takes, rates and the crop's camera, by arithmetic."""

import subprocess

import numpy as np
import pytest

from capture.video import Source, is_hdr, is_variable, rate, stream_line, takes, to_sdr
from capture.view import View
from tests.capture.made import made
from utils.errors import InputError
from utils.video import VideoWriter, find_ffmpeg


def test_a_cut_divides_and_motion_does_not():
    change = np.full(100, 1.0)
    change[50] = 29.0
    assert takes(change) == [slice(0, 100)]
    change[50] = 31.0
    assert takes(change) == [slice(0, 50), slice(50, 100)]


def test_in_a_lively_clip_a_cut_must_stand_out():
    change = np.full(100, 10.0)
    change[50] = 79.0
    assert len(takes(change)) == 1


def test_rates():
    even, uneven = np.arange(50) / 24, np.cumsum(np.tile([0.01, 0.07], 30))
    assert rate(even) == pytest.approx(24)
    assert not is_variable(even)
    assert is_variable(uneven)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """60 frames at 60 a second, the number of each in its grey level; the top left is white."""
    file = tmp_path_factory.mktemp("video") / "a.mp4"
    with VideoWriter(file, 60) as writer:
        for k in range(60):
            picture = np.full((48, 64, 3), 4 * k, np.uint8)
            picture[:16, :16] = 255
            writer.add(picture)
    return file


@pytest.mark.long
def test_frames_come_once_in_order_with_their_times_and_are_thinned(video):
    frames = list(Source(video, fps=0).frames())
    assert [round(60 * time) for time, _ in frames] == list(range(60))
    grey = [int(picture[30, 40, 0]) for _, picture in frames]
    assert np.abs(np.array(grey) - 4 * np.arange(60)).max() < 8
    thinned = [time for time, _ in Source(video, fps=25).frames()]
    assert len(thinned) in (25, 26)
    assert np.ptp(np.diff(thinned)) < 1 / 59
    assert not is_variable(np.array(thinned))
    part = [time for time, _ in Source(video, fps=0, start=0.5, end=0.75).frames()]
    assert part[0] == pytest.approx(0.5)
    assert len(part) == 15


@pytest.mark.long
@pytest.mark.parametrize(("degrees", "corner"), [(90, (0, -1)), (180, (-1, -1)), (270, (-1, 0))])
def test_a_turned_video_is_turned_clockwise(video, degrees, corner):
    _, picture = next(Source(video, rotate=degrees).frames())
    assert picture.shape[:2] == ((48, 64) if degrees == 180 else (64, 48))
    assert picture[corner].min() > 200


@pytest.mark.long
def test_ffmpeg_says_what_the_stream_is(video):
    assert "h264" in stream_line(video)


@pytest.mark.long
def test_hdr_is_told_and_mapped_where_ffmpeg_can(video, tmp_path):
    bright = tmp_path / "hdr.mp4"
    tags = "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc"
    command = [find_ffmpeg(), "-v", "error", "-i", str(video), "-frames:v", "4", "-vf", tags]
    command += ["-pix_fmt", "yuv420p10le", "-c:v", "libx264", str(bright)]
    subprocess.run(command, check=True)
    assert is_hdr(bright)
    assert not is_hdr(video)
    if to_sdr(bright, tmp_path / "sdr.mp4"):
        assert not is_hdr(tmp_path / "sdr.mp4")
        assert len(list(Source(tmp_path / "sdr.mp4", fps=0).frames())) == 4
    assert not list(tmp_path.glob("part_*"))


def test_what_is_no_video_is_refused(tmp_path):
    (tmp_path / "a.mp4").write_text("no video")
    with pytest.raises(InputError, match="no picture in it can be decoded"):
        list(Source(tmp_path / "a.mp4").frames())


FOCAL = 2.2


@pytest.fixture(scope="module")
def found():
    """A face at the right edge of a wide picture."""
    face = made(100, width=1280, height=720)
    points = face.points.copy()
    points[..., 0] += 400
    return type(face)(**{**vars(face), "points": points})


def test_the_square_sees_the_world_as_a_camera_turned_to_the_face(found):
    view = View.of(found, FOCAL, 512)
    pixels = FOCAL * 1280
    K = np.array([[pixels, 0, 640], [0, pixels, 360], [0, 0, 1]])
    own = np.array([[view.focal, 0, 256], [0, view.focal, 256], [0, 0, 1]])
    turn = np.linalg.inv(own) @ view.matrix @ K
    turn /= np.cbrt(np.linalg.det(turn))
    assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-9)
    point = np.array([0.3, 0.05, 1.0])
    seen, turned = K @ point, own @ turn @ point
    assert view.places(seen[:2] / seen[2]) == pytest.approx(turned[:2] / turned[2], abs=1e-3)


def test_the_square_holds_every_face(found):
    view = View.of(found, FOCAL, 512)
    places = view.places(found.points[..., :2])
    assert places.min() > 0
    assert places.max() < 512
    assert view.seen(found).size.tolist() == [512, 512]


def test_pixels_lie_where_places_say(found):
    view = View.of(found, FOCAL, 128)
    picture = np.zeros((720, 1280, 3), np.uint8)
    picture[300:330, 1000:1030] = 255
    square = view.cut(picture)[..., 0].astype(float)
    rows, columns = np.mgrid[:128, :128] + 0.5
    middle = (square * columns).sum() / square.sum(), (square * rows).sum() / square.sum()
    assert view.places(np.array([1015.0, 315.0])) == pytest.approx(middle, abs=0.1)
