"""The kernels as torch operators: shapes for tracing, gradients for autograd, one body per device.

Another device registers its bodies with `forward.register_kernel(device)` and
`backward.register_kernel(device)`; no caller changes.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import torch
from torch import Tensor

from diff_gaussian_rasterization import native

_TILE = 16  # pixels, kTile of csrc/rasterizer.h
_SPLAT = 8  # numbers, kSplat
_PAIR = 3  # 32-bit words of a DgrPair


class Inputs(NamedTuple):
    """Arguments of `forward`, in order; tensors first."""

    means: Tensor
    quats: Tensor | None
    scales: Tensor | None
    covariances: Tensor | None
    opacities: Tensor
    sh: Tensor | None
    colors: Tensor | None
    means2d: Tensor | None
    viewmat: Tensor
    background: Tensor | None
    K: Tensor
    width: int
    height: int
    sh_degree: int
    near: float
    far: float

    @property
    def channels(self) -> int:
        return 3 if self.colors is None else self.colors.shape[1]


class Saved(NamedTuple):
    """What `forward` returns: the image, then what only `backward` reads."""

    color: Tensor
    depth: Tensor
    alpha: Tensor
    radii: Tensor
    splats: Tensor
    features: Tensor
    offsets: Tensor
    pairs: Tensor
    tiles: Tensor


TENSORS = 11  # leading fields of Inputs that are tensors
_DIFFERENTIABLE = Inputs._fields[:10]
_INPUTS = (
    "Tensor means, Tensor? quats, Tensor? scales, Tensor? covariances, Tensor opacities, "
    "Tensor? sh, Tensor? colors, Tensor? means2d, Tensor viewmat, Tensor? background, Tensor K, "
    "SymInt width, SymInt height, SymInt sh_degree, float near, float far"
)
_SAVED = ", ".join(f"Tensor {name}" for name in Saved._fields)
_GRADS = "Tensor? grad_color, Tensor? grad_depth, Tensor? grad_alpha, SymInt wanted"


@torch.library.custom_op(
    "diff_gaussian_rasterization::forward",
    mutates_args=(),
    device_types="cpu",
    schema=f"({_INPUTS}) -> ({', '.join(['Tensor'] * len(Saved._fields))})",
)
def forward(*args):
    """Draw `Inputs`; returns the fields of `Saved`."""
    inputs = _dense(Inputs(*args))
    saved = _empty_saved(inputs, 0)._asdict()

    def allocate(pairs: int) -> int:
        room = saved["pairs"].new_empty((max(pairs, 1), _PAIR))  # an empty tensor has no address
        saved["pairs"] = room[:pairs]
        return room.data_ptr()

    state, image = _struct(native.State, saved), _struct(native.Image, saved)
    native.call("dgr_forward", _scene(inputs), state, image, native.Allocate(allocate))
    return tuple(saved.values())


@forward.register_fake
def _(*args):
    return tuple(_empty_saved(Inputs(*args), torch.library.get_ctx().new_dynamic_size()))


@torch.library.custom_op(
    "diff_gaussian_rasterization::backward",
    mutates_args=(),
    device_types="cpu",
    schema=f"({_INPUTS}, {_SAVED}, {_GRADS}) -> Tensor[]",
)
def backward(*args):
    """Gradients to the fields of `_DIFFERENTIABLE` whose bits `wanted` has; the others are empty."""
    *args, grad_color, grad_depth, grad_alpha, wanted = args
    inputs = _dense(Inputs(*args[: len(Inputs._fields)]))
    saved = Saved(*args[len(Inputs._fields) :])._asdict()
    results = _empty_gradients(inputs, wanted)
    incoming = {"color": grad_color, "depth": grad_depth, "alpha": grad_alpha}
    incoming = {name: None if g is None else g.contiguous() for name, g in incoming.items()}
    outgoing = {name: g for name, g in zip(_DIFFERENTIABLE, results, strict=True) if g.numel()}
    native.call(
        "dgr_backward",
        _scene(inputs),
        _struct(native.State, saved),
        _struct(native.Image, saved),
        _struct(native.Gradients, incoming | outgoing),
    )
    return results


@backward.register_fake
def _(*args):
    return _empty_gradients(Inputs(*args[: len(Inputs._fields)]), args[-1])


def _setup_context(ctx, inputs, output):
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:TENSORS], *output)
    ctx.numbers = inputs[TENSORS:]


def _differentiate(ctx, *grads):
    wanted = sum(1 << i for i in range(len(_DIFFERENTIABLE)) if ctx.needs_input_grad[i])
    image_grads = grads[:3]
    nothing = [None] * len(Inputs._fields)
    if wanted == 0 or all(g is None for g in image_grads):
        return tuple(nothing)
    tensors = ctx.saved_tensors
    results = torch.ops.diff_gaussian_rasterization.backward(
        *tensors[:TENSORS], *ctx.numbers, *tensors[TENSORS:], *image_grads, wanted
    )
    for i, result in enumerate(results):
        if wanted >> i & 1:
            nothing[i] = result
    return tuple(nothing)


forward.register_autograd(_differentiate, setup_context=_setup_context)


def _dense(inputs: Inputs) -> Inputs:
    return Inputs(*(x.contiguous() if isinstance(x, Tensor) else x for x in inputs))


def _empty_saved(inputs: Inputs, pairs: int) -> Saved:
    means, width, height, channels = inputs.means, inputs.width, inputs.height, inputs.channels
    count, tiles = means.shape[0], -(-width // _TILE) * -(-height // _TILE)
    return Saved(
        color=means.new_empty((channels, height, width)),
        depth=means.new_empty((1, height, width)),
        alpha=means.new_empty((1, height, width)),
        radii=means.new_empty((count,), dtype=torch.int32),
        splats=means.new_empty((count, _SPLAT)),
        features=means.new_empty((0 if inputs.sh is None else count, channels)),
        offsets=means.new_empty((count + 1,), dtype=torch.int32),
        pairs=means.new_empty((pairs, _PAIR), dtype=torch.int32),
        tiles=means.new_empty((tiles + 1,), dtype=torch.int32),
    )


def _empty_gradients(inputs: Inputs, wanted: int) -> list[Tensor]:
    return [
        inputs.means.new_empty(getattr(inputs, name).shape if wanted >> i & 1 else (0,))
        for i, name in enumerate(_DIFFERENTIABLE)
    ]


def _scene(inputs: Inputs) -> native.Scene:
    tensors = inputs._asdict()
    return native.Scene(
        count=inputs.means.shape[0],
        width=inputs.width,
        height=inputs.height,
        channels=inputs.channels,
        sh_bases=0 if inputs.sh is None else inputs.sh.shape[1],
        sh_degree=inputs.sh_degree,
        threads=torch.get_num_threads(),
        is_double=inputs.means.dtype == torch.float64,
        near_plane=inputs.near,
        far_plane=inputs.far,
        **{name: native.pointer(tensors[name]) for name in native.SCENE_TENSORS},
    )


def _struct(kind: type[ctypes.Structure], tensors: dict[str, Tensor | None]) -> ctypes.Structure:
    return kind(**{name: native.pointer(tensors.get(name)) for name, _ in kind._fields_})
