import cv2
import numpy as np
import pytest
import torch

from scene.cameras import Camera, intrinsics
from scene.frames import Frame, FrameLoader
from utils import images
from utils.errors import InputError

MIB = 2**20
SIDE = 512  # RGBA: one MiB
WHITE = torch.ones(3)
CPU = torch.device("cpu")


def frame(path, *, width=SIDE, height=SIDE):
    camera = Camera(torch.eye(4), intrinsics(50.0, 50.0, width / 2, height / 2), width, height)
    return Frame(camera, 0, 0.0, path)


@pytest.fixture
def frames(tmp_path):
    """Four pictures of one MiB each, every one in its own grey."""
    for k in range(4):
        rgba = np.full((SIDE, SIDE, 4), (50 * k, 50 * k, 50 * k, 255), np.uint8)
        cv2.imwrite(str(tmp_path / f"{k}.png"), rgba)
    return [frame(tmp_path / f"{k}.png") for k in range(4)]


@pytest.fixture
def decoded(monkeypatch):
    """The names of the pictures that were decoded, in order."""
    names = []

    def read(path):
        names.append(path.stem)
        return images.read_image(path)

    monkeypatch.setattr("scene.frames.read_image", read)
    return names


def test_preload_decodes_no_more_than_the_budget_holds(frames, decoded):
    loader = FrameLoader(2, CPU)
    loader.preload(frames)
    assert sorted(decoded) == ["0", "1"]
    assert loader.used == 2 * MIB


def test_what_came_first_stays_and_the_rest_is_decoded_when_asked_for(frames, decoded):
    loader = FrameLoader(2, CPU)
    for _ in range(3):
        for one in frames:
            loader.load(one, WHITE)
    assert decoded == ["0", "1", *["2", "3"] * 3]
    assert loader.used <= loader.budget


def test_a_loader_without_budget_keeps_nothing(frames, decoded):
    loader = FrameLoader(0, CPU)
    loader.preload(frames)
    loader.load(frames[0], WHITE)
    loader.load(frames[0], WHITE)
    assert decoded == ["0", "0"]
    assert loader.used == 0


def test_the_next_batch_is_decoded_while_one_is_at_work(frames, decoded):
    loader = FrameLoader(2, CPU)
    loader.preload(frames)
    order = [0, 2, 3, 1, 2]
    ahead = loader.ahead([frames[k]] for k in order)
    batch = next(ahead)
    (coming,) = loader._coming.values()  # nobody has loaded it yet
    coming.result()
    assert [*sorted(decoded[:2]), *decoded[2:]] == ["0", "1", "2"]
    seen = [batch, *ahead]
    assert [batch[0].image_path.stem for batch in seen] == [str(k) for k in order]


def test_pictures_read_ahead_are_those_read_at_once(frames, decoded):
    order = [2, 0, 3, 3, 2, 1]
    found, expected = FrameLoader(2, CPU), FrameLoader(2, CPU)
    for loader in (found, expected):
        loader.preload(frames)
    decoded.clear()
    for (one,) in found.ahead([frames[k]] for k in order):
        assert torch.equal(found.load(one, WHITE).image, expected.load(one, WHITE).image)
    assert found.used == expected.used
    assert sorted(decoded) == sorted(["2", "3", "3", "2"] * 2)


def test_what_cannot_be_read_ahead_is_an_error_where_it_is_asked_for(frames):
    loader = FrameLoader(0, CPU)
    frames[1].image_path.unlink()
    ahead = loader.ahead([one] for one in frames)
    loader.load(next(ahead)[0], WHITE)
    with pytest.raises(InputError, match=r"1\.png"):
        loader.load(next(ahead)[0], WHITE)


def test_preload_finds_a_cut_picture_beyond_the_budget_without_decoding(frames, decoded):
    last = frames[-1].image_path
    last.write_bytes(last.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"3\.png.*cut short"):
        FrameLoader(1, CPU).preload(frames)
    assert decoded == ["0"]


def test_half_covered_pixels_are_mixed_with_the_background(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((2, 2, 4), (0, 102, 255, 51), np.uint8))  # BGRA
    loaded = FrameLoader(1, CPU).load(
        frame(tmp_path / "a.png", width=2, height=2), torch.tensor([0.0, 1.0, 0.5])
    )
    torch.testing.assert_close(
        loaded.image[:, 0, 0], torch.tensor([0.2, 0.8 + 0.2 * 0.4, 0.8 * 0.5])
    )
    torch.testing.assert_close(loaded.alpha, torch.full((1, 2, 2), 0.2))


def test_shrinking_gives_transparent_pixels_no_say_in_the_colour(tmp_path):
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0] = (0, 0, 200, 255)  # red covered, three empty pixels of another colour
    rgba[0, 1] = rgba[1, 0] = rgba[1, 1] = (255, 255, 0, 0)
    cv2.imwrite(str(tmp_path / "a.png"), rgba)
    loaded = FrameLoader(1, CPU).load(frame(tmp_path / "a.png", width=1, height=1), torch.zeros(3))
    torch.testing.assert_close(loaded.alpha[0, 0, 0], torch.tensor(64 / 255))
    torch.testing.assert_close(loaded.image[:, 0, 0], torch.tensor([200 / 255, 0, 0]) * 64 / 255)


def test_pictures_without_alpha_cover_everything(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((2, 2, 3), 51, np.uint8))
    loaded = FrameLoader(1, CPU).load(frame(tmp_path / "a.png", width=2, height=2), WHITE)
    torch.testing.assert_close(loaded.image, torch.full((3, 2, 2), 0.2))
    assert torch.all(loaded.alpha == 1)


def test_frames_without_a_picture_pass_with_their_background():
    loaded = FrameLoader(1, CPU).load(frame(None), WHITE)
    assert loaded.image is None
    assert torch.equal(loaded.background, WHITE)
