"""Features of plane fields: bilinear samples, multiplied over planes, concatenated over levels.

A plane of the axis pair (a, b) is a tensor "rows cols C": a runs along columns, b along rows,
channels come last, so that one sample reads C neighbouring numbers and no call has to transpose.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from itertools import cycle

import torch
from torch import Tensor

from . import _native, reference

TRIPLANE_PAIRS = ((0, 1), (0, 2), (1, 2))  # xy, xz, yz
HEXPLANE_PAIRS = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))  # xy, xz, xt, yz, yt, zt

Pairs = Sequence[tuple[int, int]]
SHARED_TIME = -1  # stands for a row axis that is the time shared by all points
MAX_PLANES, MAX_AXES = 8, 8  # kMaxPlanes and kMaxAxes in csrc


def plane_features(
    planes: Sequence[Sequence[Tensor]],
    points: Tensor,
    *,
    pairs: Pairs = HEXPLANE_PAIRS,
    time: float | Tensor | None = None,
) -> Tensor:
    """Features "N L*C" of `points` "N A" in a field of L levels (HexPlane, Cao and Johnson 2023).

    `planes[level][k]` is the plane "rows cols C" of `pairs[k]`; sizes may differ, C may not.
    Coordinates run over [-1, 1], corners aligned: -1 is the first node, 1 the last. Coordinates
    outside are clamped and get a zero gradient; a NaN coordinate gives NaN features (and
    gradients without a meaning, but no access out of bounds).

    `time` in [-1, 1] is one more axis, A, after the columns of `points`. A number is shared by
    all points: the fastest form, no gradient to it; time has to be second in its pairs. A tensor
    of one time per point "N" or "N 1" (or one value that requires a gradient) is appended to
    `points`. Gradients go to planes and points; there are no second derivatives. On the CPU points
    whose features have a gradient of zero cost nothing there.

    Raises ValueError or TypeError naming the argument whose shape or dtype does not fit.
    """
    if isinstance(time, Tensor):
        if time.numel() == 1 and not time.requires_grad:
            time = float(time)
        else:
            points, time = _append_time(points, time), None
    axes = _axes_of(planes, points, pairs, time)
    flat = [plane.contiguous() for level in planes for plane in level]
    if not _native.runs_on([points, *flat]):
        return reference.plane_features(planes, points, pairs=pairs, time=time)
    return _lookup(flat, points.contiguous(), axes, 0.0 if time is None else time)


def copy_features(
    planes: Sequence[Sequence[Tensor]], copies: Tensor, *, pairs: Pairs = TRIPLANE_PAIRS
) -> Tensor:
    """Features "N T*C" of T `copies` "T N A" of points, each read in planes of its own and side by
    side; `planes[t][k]` is copy t's of `pairs[k]`. Otherwise as `plane_features`.
    """
    if copies.ndim != 3 or len(copies) != len(planes) or not len(copies):
        raise ValueError(
            f"copies has shape {tuple(copies.shape)} and planes {len(planes)} groups; expected "
            "(T, N, axes) and T groups, at least one"
        )
    axes = _axes_of(planes, copies[0], pairs, None)  # groups fit each other as levels do
    flat = [plane.contiguous() for group in planes for plane in group]
    if not _native.runs_on([copies, *flat], devices=("cpu",)):
        found = [
            plane_features([group], points, pairs=pairs)
            for group, points in zip(planes, copies, strict=True)
        ]
        return torch.cat(found, dim=1)
    return _lookup_copies(flat, copies.contiguous(), axes)


def _append_time(points: Tensor, time: Tensor) -> Tensor:
    if time.numel() not in (1, len(points)):
        raise ValueError(
            f"time has shape {tuple(time.shape)}; expected one value or {len(points)}, "
            "one per row of points"
        )
    column = time.to(points).reshape(-1, 1).expand(len(points), 1)
    return torch.cat([points, column], dim=1)


def _axes_of(
    planes: Sequence[Sequence[Tensor]], points: Tensor, pairs: Pairs, time: float | None
) -> list[int]:
    """Column axis and row axis of every pair, flat; raises where the arguments do not fit."""
    if points.ndim != 2:
        raise ValueError(f"points has shape {tuple(points.shape)}; expected (N, axes)")
    if len(points) >= 2**31:
        raise ValueError(f"points has {len(points)} rows; expected fewer than 2^31")
    if not planes or not pairs or len(pairs) > MAX_PLANES:
        raise ValueError(
            f"planes has {len(planes)} levels and pairs {len(pairs)} entries; "
            f"expected at least one level and 1 to {MAX_PLANES} pairs"
        )
    width = points.shape[1]
    count = width + (time is not None)
    if count > MAX_AXES or any(not 0 <= axis < count for pair in pairs for axis in pair):
        raise ValueError(
            f"pairs {tuple(pairs)} do not fit points of {width} columns"
            + (f" and a shared time (axis {width})" if time is not None else " and no time")
            + f"; axes have to be 0 to {count - 1} and at most {MAX_AXES}"
        )
    if time is not None and any(col == width for col, _ in pairs):
        raise ValueError(
            f"pairs {tuple(pairs)} put time (axis {width}) first in a pair; "
            "a shared time has to be second, the row axis"
        )
    _check_planes(planes, points, pairs)
    return [
        SHARED_TIME if time is not None and axis == width else axis
        for pair in pairs
        for axis in pair
    ]


def _check_planes(planes: Sequence[Sequence[Tensor]], points: Tensor, pairs: Pairs) -> None:
    channels = planes[0][0].shape[-1] if planes[0] else 0
    for index, level in enumerate(planes):
        if len(level) != len(pairs):
            raise ValueError(
                f"planes[{index}] has {len(level)} planes; expected {len(pairs)}, one per pair"
            )
        for k, plane in enumerate(level):
            shape = plane.shape
            if len(shape) != 3 or shape[2] != channels or 0 in shape:
                raise ValueError(
                    f"planes[{index}][{k}] has shape {tuple(shape)}; expected (rows, cols, "
                    f"{channels or 'channels'}), channels last and nothing empty"
                )
            if plane.dtype != points.dtype or plane.device != points.device:
                raise TypeError(
                    f"planes[{index}][{k}] is {plane.dtype} on {plane.device}, but points is "
                    f"{points.dtype} on {points.device}; give both the same"
                )


def _forward(planes: list[Tensor], points: Tensor, axes: list[int], time: float) -> Tensor:
    features = _empty_features(planes, points, axes, time)
    field = _field(planes, [None] * len(planes), points, axes, time, features.shape[1])
    _native.call(
        "lookup_forward", points.dtype, ctypes.addressof(field), points, len(points), features
    )
    return features


def _empty_features(planes: list[Tensor], points: Tensor, axes: list[int], time: float) -> Tensor:
    levels = 2 * len(planes) // len(axes)
    return points.new_empty(len(points), levels * planes[0].shape[2])


def _backward(
    grad: Tensor, planes: list[Tensor], points: Tensor, axes: list[int], time: float
) -> list[Tensor]:
    """Gradients of all planes, then of points."""
    grads = _empty_grads(grad, planes, points, axes, time)
    field = _field(planes, grads[:-1], points, axes, time, grad.shape[1])
    _native.call(
        "lookup_backward", points.dtype, ctypes.addressof(field), points, len(points),
        grad, grads[-1],
    )  # fmt: skip
    return grads


def _empty_grads(grad, planes: list[Tensor], points: Tensor, axes, time) -> list[Tensor]:
    return [torch.empty_like(tensor) for tensor in (*planes, points)]


def _keep(ctx, inputs, output) -> None:
    planes, points, ctx.axes, ctx.time = inputs
    ctx.save_for_backward(*planes, points)


def _differentiate(ctx, grad: Tensor) -> tuple[list[Tensor], Tensor, None, None]:
    *planes, points = ctx.saved_tensors
    *grads, grad_points = _lookup_backward(grad.contiguous(), planes, points, ctx.axes, ctx.time)
    return grads, grad_points, None, None


_lookup = _native.OPERATORS.define(
    "lookup(Tensor[] planes, Tensor points, int[] axes, float time) -> Tensor",
    cpu=_forward,
    cuda=_native.on_gpu("lookup"),
    fake=_empty_features,
    keep=_keep,
    differentiate=_differentiate,
)
_lookup_backward = _native.OPERATORS.define(
    "lookup_backward(Tensor grad, Tensor[] planes, Tensor points, int[] axes, float time) "
    "-> Tensor[]",
    cpu=_backward,
    cuda=_native.on_gpu("lookup_backward"),
    fake=_empty_grads,
)


def _forward_copies(planes: list[Tensor], copies: Tensor, axes: list[int]) -> Tensor:
    features = _empty_copies(planes, copies, axes)
    for points, group, to in _groups(planes, copies, features):
        field = _field(group, [None] * len(group), points, axes, 0.0, features.shape[1])
        _native.call(
            "lookup_forward", points.dtype, ctypes.addressof(field), points, len(points), to
        )
    return features


def _empty_copies(planes: list[Tensor], copies: Tensor, axes: list[int]) -> Tensor:
    return copies.new_empty(copies.shape[1], len(copies) * planes[0].shape[2])


def _backward_copies(
    grad: Tensor, planes: list[Tensor], copies: Tensor, axes: list[int]
) -> list[Tensor]:
    """Gradients of all planes, then of copies."""
    *grads, of_copies = found = _empty_copy_grads(grad, planes, copies, axes)
    rest = iter(grads)
    for (points, group, to), of_points in zip(
        _groups(planes, copies, grad), of_copies, strict=True
    ):
        of_planes = [next(rest) for _ in group]
        field = _field(group, of_planes, points, axes, 0.0, grad.shape[1])
        _native.call(
            "lookup_backward", points.dtype, ctypes.addressof(field), points, len(points), to,
            of_points,
        )  # fmt: skip
    return found


def _empty_copy_grads(grad, planes: list[Tensor], copies: Tensor, axes) -> list[Tensor]:
    return [torch.empty_like(tensor) for tensor in (*planes, copies)]


def _groups(planes: list[Tensor], copies: Tensor, features: Tensor) -> Iterator[tuple]:
    """Of each copy its points, its planes, and the address of the first of its features."""
    size, channels = len(planes) // len(copies), planes[0].shape[2]
    for t, points in enumerate(copies):
        first = features.data_ptr() + t * channels * features.element_size()
        yield points, planes[t * size : (t + 1) * size], first


def _keep_copies(ctx, inputs, output) -> None:
    planes, copies, ctx.axes = inputs
    ctx.save_for_backward(*planes, copies)


def _differentiate_copies(ctx, grad: Tensor) -> tuple[list[Tensor], Tensor, None]:
    *planes, copies = ctx.saved_tensors
    *grads, of_copies = _lookup_copies_backward(grad.contiguous(), planes, copies, ctx.axes)
    return grads, of_copies, None


_lookup_copies = _native.OPERATORS.define(
    "lookup_copies(Tensor[] planes, Tensor copies, int[] axes) -> Tensor",
    cpu=_forward_copies,
    fake=_empty_copies,
    keep=_keep_copies,
    differentiate=_differentiate_copies,
)
_lookup_copies_backward = _native.OPERATORS.define(
    "lookup_copies_backward(Tensor grad, Tensor[] planes, Tensor copies, int[] axes) -> Tensor[]",
    cpu=_backward_copies,
    fake=_empty_copy_grads,
)


def _field(
    planes: list[Tensor],
    grads: Sequence[Tensor | None],
    points: Tensor,
    axes: list[int],
    time: float,
    feature_step: int,
) -> _native.Field:
    per_level = len(axes) // 2
    pairs = cycle(zip(axes[::2], axes[1::2], strict=True))
    table = [
        (plane.data_ptr(), None if grad is None else grad.data_ptr(), *plane.shape[:2], *pair)
        for plane, grad, pair in zip(planes, grads, pairs, strict=False)
    ]
    array = (_native.FieldPlane * len(planes))(*table)
    return _native.Field(
        array, len(planes) // per_level, per_level, planes[0].shape[2], points.shape[1], time,
        feature_step,
    )  # fmt: skip
