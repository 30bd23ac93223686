"""The CPU backend: the operators' arguments handed to the shared library."""

from __future__ import annotations

from torch import Tensor

from diff_gaussian_rasterization import native
from diff_gaussian_rasterization.layout import (
    PAIR,
    Inputs,
    Saved,
    dense,
    empty_gradients,
    empty_saved,
    gradients_struct,
    scene_struct,
    struct,
)


def forward(inputs: Inputs, room: Saved | None = None) -> Saved:
    """Draw; into the tensors of `room` where given, whose pairs are replaced when they are too few.

    `pairs` then is as long as the room; a tile's pairs end where the next tile's begin, as always.
    """
    inputs = dense(inputs)
    saved = (room or empty_saved(inputs, 1))._asdict()
    drawn = 0

    def allocate(pairs: int) -> int:
        nonlocal drawn
        drawn = pairs
        if pairs > len(saved["pairs"]):
            spare = 0 if room is None else pairs // 4  # the next frame may need a few more
            saved["pairs"] = saved["pairs"].new_empty((pairs + spare, PAIR))
        return saved["pairs"].data_ptr()

    state, image = struct(native.State, saved), struct(native.Image, saved)
    native.call("dgr_forward", scene_struct(inputs), state, image, native.Allocate(allocate))
    if room is None:
        saved["pairs"] = saved["pairs"][:drawn]
    return Saved(**saved)


def backward(
    inputs: Inputs, saved: Saved, image_grads: tuple[Tensor | None, ...], wanted: int
) -> list[Tensor]:
    """Gradients to the fields of DIFFERENTIABLE whose bits `wanted` has; the others are empty.

    image_grads: of color "C H W", depth "1 H W", alpha "1 H W"; None = zeros.
    """
    inputs = dense(inputs)
    results = empty_gradients(inputs, wanted)
    gradients, _held = gradients_struct(image_grads, results)
    tensors = saved._asdict()
    state, image = struct(native.State, tensors), struct(native.Image, tensors)
    native.call("dgr_backward", scene_struct(inputs), state, image, gradients)
    return results
