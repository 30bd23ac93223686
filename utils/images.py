"""Pictures on disk and small pictures about pictures: read, write, shrink, compare.

In memory a picture is either a tensor (C, H, W), floats in [0, 1], or an array (H, W, C), uint8;
colour is RGB or RGBA with straight alpha. Files are PNG or JPEG.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from utils.devices import CPU, to_device
from utils.errors import InputError
from utils.files import reading, replacing
from utils.picture_files import decode, image_size, whole_picture

__all__ = [
    "check_image", "contact_sheet", "error_map", "image_size", "labelled", "make_folder",
    "read_image", "read_matte", "resize_premultiplied", "to_pixels", "to_tensor", "undistort",
    "write_depth", "write_image",
]  # fmt: skip

Pixels = NDArray[np.uint8]  # (H, W, C)

# By number of channels; OpenCV keeps colours in the order BGR.
TO_RGB = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
FROM_RGB = {1: cv2.COLOR_GRAY2BGR, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}

JPEG_QUALITY = 95
DEPTH_STEP = 0.001  # world units per level of a 16-bit depth picture: up to 65.5 units
ERROR_FULL_SCALE = 0.25  # mean absolute error that an error map shows as its brightest colour
GUTTER = 4  # pixels between the pictures of a contact sheet
CAPTION_HEIGHT = 22  # pixels
STRIP = 32  # rows


def read_image(path: Path) -> Pixels:
    """Decode a PNG or JPEG file to (H, W, 3) or (H, W, 4) uint8; grey becomes RGB, 16 bits become
    8.

    Raises InputError naming the file when it is missing, damaged, cut short or of another kind.
    """
    data = whole_picture(path)
    with reading(path, "a picture", "copy or write it again"):
        pixels = decode(data)
        if pixels.dtype == np.uint16:
            pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        return cv2.cvtColor(pixels, TO_RGB[channels])


def read_matte(path: Path, keep: Sequence[tuple[int, int, int]] = ()) -> Pixels:
    """Coverage (H, W) uint8 from a mask: its grey levels, or 255 where its colour is one of `keep`.

    A picture with alpha and no colours to keep gives its alpha.
    """
    pixels = read_image(path)
    if not keep:
        return pixels[..., 3] if pixels.shape[2] == 4 else pixels[..., :3].max(2)
    kept = [(pixels[..., :3] == np.array(color, np.uint8)).all(2) for color in keep]
    return np.logical_or.reduce(kept).astype(np.uint8) * 255


def undistort(pixels: Pixels, K: Sequence[float], coefficients: Sequence[float]) -> Pixels:
    """The picture that a pinhole camera of the same intrinsics fx fy cx cy would have taken.

    `coefficients` are OpenCV's k1 k2 p1 p2 k3; pixel centres lie at .5. What the lens did not see
    is transparent, or black in a picture without alpha.
    """
    fx, fy, cx, cy = K
    # OpenCV: centres at integers
    matrix = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]])
    return cv2.undistort(pixels, matrix, np.array(coefficients, np.float64))


def check_image(path: Path) -> None:
    """Raise InputError as `read_image` does, without the cost of decoding."""
    whole_picture(path)


def write_image(path: Path, image: Tensor | Pixels) -> None:
    """Write a picture, whole or not at all; the suffix (.png, .jpg) says how.

    Floats are clamped to [0, 1] and rounded to the nearest of 256 levels; JPEG drops alpha. Missing
    folders are made.
    """
    pixels, flags = to_pixels(image), []
    if path.suffix.lower() in (".jpg", ".jpeg"):
        pixels, flags = pixels[..., :3], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _write(path, cv2.cvtColor(np.ascontiguousarray(pixels), FROM_RGB[pixels.shape[2]]), flags)


def write_depth(path: Path, depth: Tensor) -> None:
    """Write depth (H, W) in world units as 16-bit grey PNG: `DEPTH_STEP` units a level, 0 =
    nothing."""
    levels = torch.nan_to_num(depth.detach().double()).div(DEPTH_STEP).add(0.5).clamp(0, 65535)
    _write(path, levels.cpu().numpy().astype(np.uint16))


def to_pixels(image: Tensor | Pixels) -> Pixels:
    """Either form of a picture as (H, W, C) uint8: x·255 rounded; NaN becomes 0."""
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3:
            raise TypeError(f"a picture array is uint8 (H, W, C), not {image.dtype} {image.shape}")
        return image
    if image.ndim != 3 or not image.is_floating_point():
        raise TypeError(
            f"a picture tensor is float (C, H, W), not {image.dtype} {tuple(image.shape)}"
        )
    channels, height, width = image.shape
    levels = torch.empty((height, width, channels), dtype=torch.uint8, device=image.device)
    for c, plane in enumerate(image.detach()):  # one by one: half of the time of all at once
        levels[..., c] = torch.nan_to_num(plane).clamp_(0, 1).mul_(255).add_(0.5).to(torch.uint8)
    return levels.cpu().numpy()


def to_tensor(pixels: Pixels, device: torch.device = CPU) -> Tensor:
    """Pixels (H, W, C) as floats (C, H, W) in [0, 1] on `device`; they travel there as bytes."""
    # Bytes are turned, not floats, and the result is dense: whatever reads it is twice as fast.
    planes = to_device(torch.from_numpy(pixels), device).permute(2, 0, 1).contiguous()
    return planes.float().div_(255)


def resize_premultiplied(image: Pixels, width: int, height: int) -> Pixels:
    """Shrink (H, W, 3) or (H, W, 4) with a box filter: each pixel is the mean over the area it
    covers.

    Colours are weighted by their alpha, so that what is transparent adds no colour.
    """
    # Sums of 8-bit values times 8-bit alphas are exact in float32 up to 256 pixels.
    values = _premultiplied(image) if image.shape[2] == 4 else image.astype(np.float32)
    values = cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA)
    if image.shape[2] == 4:
        values[..., :3] /= np.maximum(values[..., 3:], np.finfo(np.float32).tiny)
    return np.minimum(values + 0.5, 255).astype(np.uint8)


def _premultiplied(image: Pixels) -> NDArray[np.float32]:
    """(H, W, 4), colours times alphas in [0, 65025]. By strips: little memory, and in caches."""
    values = np.empty(image.shape, np.float32)
    for top in range(0, len(image), STRIP):
        *colours, alpha = cv2.split(image[top : top + STRIP])
        covered = [cv2.multiply(colour, alpha, dtype=cv2.CV_32F) for colour in colours]
        cv2.merge([*covered, alpha.astype(np.float32)], values[top : top + STRIP])
    return values


def error_map(a: Tensor, b: Tensor) -> Pixels:
    """Mean absolute difference of two (C, H, W) pictures as (H, W, 3) colours, black to bright
    yellow.

    The scale is fixed, so that maps of different pictures and runs can be compared by eye.
    """
    error = (a.detach() - b.detach()).abs().mean(0) / ERROR_FULL_SCALE
    levels = to_pixels(error[None])[..., 0]
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)


def contact_sheet(rows: Sequence[Sequence[Tensor | Pixels]], captions: Sequence[str]) -> Pixels:
    """One (H, W, 3) picture of a table of pictures with a caption (ASCII) above each column.

    Alpha is dropped. Pictures smaller than the largest keep their size, at the top left of their
    cell.
    """
    table = [[to_pixels(image)[..., :3] for image in row] for row in rows]
    if not table or any(len(row) != len(captions) for row in table):
        raise ValueError(f"a contact sheet needs rows of {len(captions)} pictures, one per caption")
    height = max(image.shape[0] for row in table for image in row)
    width = max(image.shape[1] for row in table for image in row)
    step_y, step_x = height + GUTTER, width + GUTTER
    shape = (CAPTION_HEIGHT + len(table) * step_y, len(captions) * step_x + GUTTER, 3)
    sheet = np.full(shape, 255, np.uint8)
    for column, caption in enumerate(captions):
        _caption(sheet, caption, GUTTER + column * step_x, width)
        for row, images in enumerate(table):
            top, left = CAPTION_HEIGHT + row * step_y, GUTTER + column * step_x
            h, w, _ = images[column].shape
            sheet[top : top + h, left : left + w] = images[column]
    return sheet


def labelled(image: Pixels, text: str) -> Pixels:
    """The picture with a short text (ASCII) in its top left corner, white on black."""
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)
    image = np.ascontiguousarray(image)
    image[: height + 6, : width + 6] = 0
    return cv2.putText(
        image, text, (3, height + 3), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA
    )


def _caption(sheet: Pixels, text: str, left: int, width: int) -> None:
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.45
    taken = max(1, cv2.getTextSize(text, font, size, 1)[0][0])
    scale = size * min(1.0, width / taken)
    cv2.putText(sheet, text, (left, CAPTION_HEIGHT - 7), font, scale, (0, 0, 0), 1, cv2.LINE_AA)


def _write(path: Path, pixels: np.ndarray, flags: Sequence[int] = ()) -> None:
    try:
        _, data = cv2.imencode(path.suffix, pixels, flags)
    except cv2.error as error:
        raise ValueError(f"{path}: no way to write '{path.suffix}'; use .png or .jpg") from error
    make_folder(path.parent)
    with replacing(path) as temporary:
        temporary.write_bytes(data.tobytes())


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; InputError where that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: the folder cannot be made ({error.strerror}); "
            "move away what is there or choose another one"
        ) from error
