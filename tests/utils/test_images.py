"""Pictures: exact round trips, honest errors, and a box filter checked by hand."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import torch

from tests.border import refused_cheaply
from utils import picture_files
from utils.errors import InputError
from utils.images import (
    DEPTH_STEP,
    check_image,
    contact_sheet,
    error_map,
    image_size,
    read_image,
    resize_premultiplied,
    to_pixels,
    write_depth,
    write_image,
)


def random_pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("channels", [3, 4])
def test_png_gives_back_the_same_pixels(tmp_path, channels):
    pixels = random_pixels(7, 11, channels)
    write_image(tmp_path / "new" / "a.png", pixels)
    assert np.array_equal(read_image(tmp_path / "new" / "a.png"), pixels)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.png"], "no temporary file stays"


def test_channel_order_on_disk_is_red_first(tmp_path):
    """Seen by another reader: imageio uses Pillow, not OpenCV."""
    import imageio.v3 as imageio

    pixels = random_pixels(5, 6, 4)
    write_image(tmp_path / "a.png", pixels)
    assert np.array_equal(imageio.imread(tmp_path / "a.png"), pixels)


def test_floats_are_clamped_and_rounded_to_the_nearest_level(tmp_path):
    values = torch.tensor([-1.0, 0.0, 0.4999 / 255, 0.5001 / 255, 1.0, 2.0, float("nan")])
    write_image(tmp_path / "a.png", values.expand(3, 1, 7))
    assert read_image(tmp_path / "a.png")[0, :, 1].tolist() == [0, 0, 0, 1, 255, 255, 0]


def test_jpeg_is_close_and_has_no_alpha(tmp_path):
    smooth = np.dstack([np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))] * 4)
    write_image(tmp_path / "a.jpg", smooth)
    pixels = read_image(tmp_path / "a.jpg")
    assert pixels.shape == (64, 64, 3)
    assert np.abs(pixels.astype(int) - smooth[..., :3]).max() <= 3


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_size_is_known_without_decoding(tmp_path, name):
    write_image(tmp_path / name, random_pixels(17, 23, 3))
    assert image_size(tmp_path / name) == (23, 17)


def test_grey_and_16_bit_files_become_8_bit_rgb(tmp_path):
    grey = random_pixels(4, 5)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    assert np.array_equal(read_image(tmp_path / "grey.png"), np.dstack([grey] * 3))
    deep = random_pixels(4, 5, 3).astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    assert np.array_equal(read_image(tmp_path / "deep.png"), (deep // 257)[..., ::-1])


def test_missing_picture_is_named(tmp_path):
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "a.png")) + ": no such picture"):
        read_image(tmp_path / "a.png")


def test_folder_in_place_of_a_picture_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        image_size(tmp_path)


@pytest.mark.parametrize("content", [b"", b"GIF89a, say", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
@pytest.mark.parametrize("read", [read_image, image_size])
def test_other_kinds_of_file_are_refused_by_name(tmp_path, read, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png: not a whole PNG or JPEG"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_cut_picture_is_refused(tmp_path, name, share):
    write_image(tmp_path / name, random_pixels(64, 64, 3))
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=f"{name}: .*cut short"):
        read_image(tmp_path / name)


def test_flipped_bit_in_a_png_is_noticed(tmp_path):
    write_image(tmp_path / "a.png", random_pixels(64, 64, 3))
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[len(data) // 2] ^= 4
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        read_image(tmp_path / "a.png")


def test_unknown_suffix_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"use \.png or \.jpg"):
        write_image(tmp_path / "a.xyz", random_pixels(4, 4, 3))
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="file: the folder cannot be made"):
        write_image(tmp_path / "file" / "a.png", random_pixels(4, 4, 3))


def test_depth_is_stored_in_thousandths(tmp_path):
    write_depth(tmp_path / "d.png", torch.tensor([[0.0, 1.2344, 4.0], [100.0, -1.0, float("nan")]]))
    levels = cv2.imread(str(tmp_path / "d.png"), cv2.IMREAD_UNCHANGED)
    assert DEPTH_STEP == 0.001
    assert levels.tolist() == [[0, 1234, 4000], [65535, 0, 0]]


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((3, 4, 4)),
        np.zeros((4, 4), np.uint8),
        torch.zeros(4, 4),
        torch.zeros(3, 4, 4, dtype=torch.int64),
    ],
)
def test_picture_of_another_form_is_refused(wrong):
    with pytest.raises(TypeError, match="a picture"):
        to_pixels(wrong)


def test_half_size_is_the_alpha_weighted_mean():
    """By hand: a full red pixel and three empty ones of stray green make a quarter-opaque red."""
    image = np.zeros((2, 2, 4), np.uint8)
    image[..., 1] = 200
    image[0, 0] = (250, 0, 0, 255)
    assert resize_premultiplied(image, 1, 1)[0, 0].tolist() == [250, 0, 0, 64]


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_integer_factors_are_exact_means(factor):
    image = random_pixels(5 * factor, 3 * factor, 4)
    blocks = image.reshape(5, factor, 3, factor, 4).astype(np.float64)
    alpha = blocks[..., 3].sum((1, 3))
    color = (blocks[..., :3] * blocks[..., 3:]).sum((1, 3)) / alpha[..., None]
    truth = np.dstack([color, alpha / factor**2])
    shrunk = resize_premultiplied(image, 3, 5)
    assert shrunk.shape == (5, 3, 4)
    assert np.abs(shrunk - truth).max() <= 0.5 + 1e-4


def test_opaque_and_rgb_pictures_shrink_alike():
    image = random_pixels(30, 20, 3)
    opaque = np.dstack([image, np.full((30, 20), 255, np.uint8)])
    for size in ((10, 15), (7, 9)):
        assert np.array_equal(
            resize_premultiplied(image, *size), resize_premultiplied(opaque, *size)[..., :3]
        )


def test_uneven_factor_weighs_by_covered_area():
    row = np.array([[[0] * 3, [90] * 3, [240] * 3]], np.uint8)
    # Three pixels into two: each takes one whole and half of the middle one.
    assert resize_premultiplied(row, 2, 1)[0, :, 0].tolist() == [30, 190]


def test_empty_picture_stays_empty():
    image = random_pixels(8, 8, 4)
    image[..., 3] = 0
    assert not resize_premultiplied(image, 4, 4).any()


def test_error_map_is_dark_where_equal_and_brighter_with_error():
    truth = torch.zeros(3, 1, 5)
    render = torch.linspace(0, 0.25, 5).expand(3, 1, 5)
    luma = error_map(render, truth).astype(float) @ (0.299, 0.587, 0.114)
    assert luma[0, 0] < 10
    assert (np.diff(luma[0]) > 10).all()
    assert np.array_equal(error_map(render, truth), error_map(truth, render))


def test_contact_sheet_holds_every_picture_unchanged():
    rows = [[random_pixels(20, 30, 3, seed=2 * r + c) for c in range(2)] for r in range(3)]
    rows[1][1] = torch.from_numpy(rows[1][1]).permute(2, 0, 1) / 255
    sheet = contact_sheet(rows, ("ground truth", "render"))
    assert sheet.dtype == np.uint8
    found = [_find(sheet, to_pixels(image)) for row in rows for image in row]
    assert found == sorted(found), "row by row, left to right"
    assert len(set(found)) == 6
    top = found[0][0]
    assert (sheet[:top] < 128).any(), "captions are drawn above the pictures"


def _find(sheet, image):
    score = cv2.matchTemplate(sheet, np.ascontiguousarray(image), cv2.TM_SQDIFF)
    low, _, (x, y), _ = cv2.minMaxLoc(score)
    assert np.array_equal(sheet[y : y + image.shape[0], x : x + image.shape[1]], image), low
    return y, x


def test_contact_sheet_refuses_a_row_of_another_length():
    with pytest.raises(ValueError, match="rows of 2 pictures"):
        contact_sheet([[random_pixels(4, 4, 3)]], ("a", "b"))


def smooth_jpeg(path, side=200):
    pixels = cv2.GaussianBlur(random_pixels(side, side, 3), (0, 0), 3)
    cv2.imwrite(str(path), pixels)
    return path.read_bytes()


def test_jpeg_with_a_video_behind_its_end_mark_gives_the_same_pixels(tmp_path):
    data = smooth_jpeg(tmp_path / "a.jpg")
    expected = read_image(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes(data + b"\0\0\0\x20ftypmp42" + b"\x5a" * 60_000)
    assert np.array_equal(read_image(tmp_path / "a.jpg"), expected)
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"a\.jpg: .*cut short"):
        read_image(tmp_path / "a.jpg")


def test_jpeg_damaged_before_its_end_mark_is_named_and_libjpeg_stays_quiet(tmp_path, capfd):
    data = bytearray(smooth_jpeg(tmp_path / "a.jpg"))
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.jpg: cannot be read as a picture .*Corrupt JPEG"):
        read_image(tmp_path / "a.jpg")
    assert capfd.readouterr().err == ""


def test_a_program_started_while_a_jpeg_is_decoded_is_not_waited_for(tmp_path, monkeypatch):
    """As the encoder of a video is, by another thread."""
    smooth_jpeg(tmp_path / "a.jpg")
    decode, started = picture_files._pixels, []

    def meanwhile(data):
        started.append(subprocess.Popen(["sleep", "60"]))  # it inherits stderr
        return decode(data)

    monkeypatch.setattr(picture_files, "_pixels", meanwhile)
    read_image(tmp_path / "a.jpg")
    assert started[0].poll() is None
    started[0].kill(), started[0].wait()


def test_jpegs_are_decoded_by_several_threads_and_stderr_is_what_it_was(tmp_path, capfd):
    smooth_jpeg(tmp_path / "a.jpg")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(read_image, [tmp_path / "a.jpg"] * 40))
    assert all((pixels == found[0]).all() for pixels in found)
    os.write(2, b"still here")
    assert capfd.readouterr().err == "still here"


def test_jpeg_with_a_few_bytes_before_its_end_mark_is_read(tmp_path, capfd):
    """Webcams leave some; the picture is whole."""
    data = smooth_jpeg(tmp_path / "a.jpg")
    expected = read_image(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes(data[:-2] + b"\x12\x34" + data[-2:])
    assert np.array_equal(read_image(tmp_path / "a.jpg"), expected)


def bomb(width, height):
    """A PNG that says it is so large."""
    ends = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = [(b"IHDR", ends), (b"IDAT", zlib.compress(bytes(1_000))), (b"IEND", b"")]
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("size", [(20_000, 10_001), (2**31 - 1, 2**31 - 1), (0, 5)])
@pytest.mark.parametrize("read", [read_image, image_size, check_image])
def test_size_of_a_picture_is_bounded_before_it_is_decoded(tmp_path, read, size):
    (tmp_path / "a.png").write_bytes(bomb(*size))
    said = "pixels, expected at most 200,000,000" if size[0] else "not a whole PNG"
    refused_cheaply(lambda: read(tmp_path / "a.png"), said, 100)


@pytest.mark.parametrize("read", [read_image, image_size, check_image])
def test_pipe_in_place_of_a_picture_is_named_and_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: cannot be read: it is a pipe or a device"):
        read(tmp_path / "a.png")


def test_number_of_parts_of_a_png_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.picture_files.MAX_CHUNKS", 4)
    whole = bomb(4, 4)
    for extra in (1, 2):
        comment = struct.pack(">I4sI", 0, b"tEXt", zlib.crc32(b"tEXt"))
        (tmp_path / "a.png").write_bytes(whole[:33] + comment * extra + whole[33:])
        if extra == 1:
            check_image(tmp_path / "a.png")
    with pytest.raises(InputError, match="damaged"):
        check_image(tmp_path / "a.png")
