"""The CPU backend: the operators' arguments handed to the shared library."""

from __future__ import annotations

from torch import Tensor

from diff_gaussian_rasterization import native
from diff_gaussian_rasterization.budget import BUDGET, PAIR_BYTES, room_for
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

_PAIR = PAIR_BYTES["cpu"]


def forward(inputs: Inputs, room: Saved | None = None) -> Saved:
    """Draw; into the tensors of `room` where given, whose pairs are replaced when they are too few
    or far too many.

    `pairs` then is as long as the room; a tile's pairs end where the next tile's begin, as always.
    OutOfMemoryError where there are more pairs than the budget allows, ValueError from 2^32 on.
    """
    inputs = dense(inputs)
    saved = (room or empty_saved(inputs, 1))._asdict()
    refused: list[Exception] = []

    def allocate(pairs: int) -> int | None:
        length = max(pairs, 1) if room is None else room_for(pairs, len(saved["pairs"]))
        try:  # no exception may cross native code
            BUDGET.check(pairs, _PAIR.sorting, inputs.means.device)
            if pairs >= 2**32:
                raise ValueError(native.TOO_MANY_PAIRS.format(32))
            if length != len(saved["pairs"]):
                saved["pairs"].set_()  # the old room is given back before the new one is taken
                saved["pairs"] = saved["pairs"].new_empty((length, PAIR))
        except (RuntimeError, ValueError) as error:
            refused.append(error)
            return None
        return saved["pairs"].data_ptr()

    state, image = struct(native.State, saved), struct(native.Image, saved)
    try:
        drawn = native.call(
            "dgr_forward", scene_struct(inputs), state, image, native.Allocate(allocate)
        )
    except MemoryError as error:
        raise (refused or [error])[0] from None
    if room is None:
        saved["pairs"] = saved["pairs"][:drawn]
    return Saved(**saved)


def backward(
    inputs: Inputs, saved: Saved, image_grads: tuple[Tensor | None, ...], wanted: int
) -> list[Tensor]:
    """Gradients to the fields of DIFFERENTIABLE whose bits `wanted` has; the others are empty.

    image_grads: of color "C H W", depth "1 H W", alpha "1 H W"; None = zeros. Errors as forward.
    """
    inputs = dense(inputs)
    each = _PAIR.kept + _PAIR.adding(inputs.channels, inputs.means.element_size())
    BUDGET.check(len(saved.pairs), each, inputs.means.device)
    results = empty_gradients(inputs, wanted)
    gradients, _held = gradients_struct(image_grads, results)
    tensors = saved._asdict()
    state, image = struct(native.State, tensors), struct(native.Image, tensors)
    native.call("dgr_backward", scene_struct(inputs), state, image, gradients)
    return results
