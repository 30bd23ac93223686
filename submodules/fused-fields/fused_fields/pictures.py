"""Pictures of bytes as floats, composited on a background, in one pass."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from . import _native, reference


def composite(pixels: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
    """The picture "3 H W" in [0, 1] that bytes "H W 3" or "H W 4" show in front of a background,
    and its alpha "1 H W": 1 where there are three channels, which cover the background.

    The background is a colour "3" or a picture "3 H W"; the results have its type. No gradients. On
    a GPU this is the PyTorch twin.

    Raises ValueError or TypeError naming the argument that does not fit.
    """
    if pixels.dtype != torch.uint8 or pixels.device != background.device:
        raise TypeError(
            f"pixels is {pixels.dtype} on {pixels.device} and background on {background.device}; "
            "expected torch.uint8 on the same device"
        )
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise ValueError(f"pixels has shape {tuple(pixels.shape)}; expected (H, W, 3) or (H, W, 4)")
    if background.shape not in ((3,), (3, *pixels.shape[:2])):
        raise ValueError(
            f"background has shape {tuple(background.shape)}; expected (3,) or "
            f"{(3, *pixels.shape[:2])}"
        )
    if not _native.runs_on([background], devices=("cpu",)):
        return reference.composite(pixels, background)
    return _composite(pixels.contiguous(), background.contiguous())


def _on_cpu(pixels: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
    image, alpha = _empty(pixels, background)
    height, width, channels = pixels.shape
    picture = _native.Picture(
        pixels.data_ptr(), background.data_ptr(), image.data_ptr(), alpha.data_ptr(),
        height * width, channels, background.ndim == 1,
    )  # fmt: skip
    _native.call("composite", image.dtype, ctypes.addressof(picture))
    return image, alpha


def _empty(pixels: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
    height, width, _ = pixels.shape
    return background.new_empty(3, height, width), background.new_empty(1, height, width)


_composite = _native.OPERATORS.define(
    "composite(Tensor pixels, Tensor background) -> (Tensor, Tensor)", cpu=_on_cpu, fake=_empty
)
