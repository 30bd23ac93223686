"""What the operators take and return, on any device, and the same as structs for native code."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import torch
from torch import Tensor

from diff_gaussian_rasterization import native

TILE = 16  # pixels, kTile of csrc/border.h
SPLAT = 8  # numbers, kSplat
PAIR = 3  # 32-bit words of a DgrPair


class Inputs(NamedTuple):
    """Arguments of the forward operator, in order; tensors first."""

    means: Tensor
    quats: Tensor | None
    scales: Tensor | None
    covariances: Tensor | None
    opacities: Tensor
    sh: Tensor | None
    colors: Tensor | None
    means2d: Tensor | None
    means2d_abs: Tensor | None
    viewmat: Tensor
    background: Tensor | None
    K: Tensor
    width: int
    height: int
    sh_degree: int
    near: float
    far: float
    antialiased: bool = False

    @property
    def channels(self) -> int:
        return 3 if self.colors is None else self.colors.shape[1]

    @property
    def tiles(self) -> int:
        return -(-self.width // TILE) * -(-self.height // TILE)


class Saved(NamedTuple):
    """What the forward operator returns: the image, then what only the backward operator reads."""

    color: Tensor
    depth: Tensor
    alpha: Tensor
    radii: Tensor
    splats: Tensor
    features: Tensor
    offsets: Tensor
    pairs: Tensor
    tiles: Tensor


TENSORS = 12  # leading fields of Inputs that are tensors
DIFFERENTIABLE = Inputs._fields[:11]


def dense(inputs: Inputs) -> Inputs:
    """The same with contiguous tensors, as native code reads them."""
    return Inputs(*(x.contiguous() if isinstance(x, Tensor) else x for x in inputs))


def empty_saved(inputs: Inputs, pairs: int) -> Saved:
    """Room for what the forward operator returns."""
    means, width, height, channels = inputs.means, inputs.width, inputs.height, inputs.channels
    count = means.shape[0]
    return Saved(
        color=means.new_empty((channels, height, width)),
        depth=means.new_empty((1, height, width)),
        alpha=means.new_empty((1, height, width)),
        radii=means.new_empty((count,), dtype=torch.int32),
        splats=means.new_empty((count, SPLAT)),
        features=means.new_empty((0 if inputs.sh is None else count, channels)),
        offsets=means.new_empty((count + 1,), dtype=torch.int32),
        pairs=means.new_empty((pairs, PAIR), dtype=torch.int32),
        tiles=means.new_empty((inputs.tiles + 1,), dtype=torch.int32),
    )


def empty_gradients(inputs: Inputs, wanted: int) -> list[Tensor]:
    """Room for gradients to the fields of DIFFERENTIABLE whose bits `wanted` has."""
    return [
        inputs.means.new_empty(getattr(inputs, name).shape if wanted >> i & 1 else (0,))
        for i, name in enumerate(DIFFERENTIABLE)
    ]


def scene_struct(inputs: Inputs) -> native.Scene:
    """DgrScene; its pointers live as long as `inputs`."""
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
        antialiased=inputs.antialiased,
        near_plane=inputs.near,
        far_plane=inputs.far,
        **{name: native.pointer(tensors[name]) for name in native.SCENE_TENSORS},
    )


def struct(kind: type[ctypes.Structure], tensors: dict[str, Tensor | None]) -> ctypes.Structure:
    """A struct of pointers to the tensors of the same names; absent ones are null."""
    return kind(**{name: native.pointer(tensors.get(name)) for name, _ in kind._fields_})


def gradients_struct(
    image: tuple[Tensor | None, ...], results: list[Tensor]
) -> tuple[native.Gradients, list[Tensor | None]]:
    """DgrGradients from those of color, depth and alpha to `results` (empty = not wanted).

    Also returns the dense image gradients that the struct points to.
    """
    incoming = [None if g is None else g.contiguous() for g in image]
    tensors = dict(zip(("color", "depth", "alpha"), incoming, strict=True))
    tensors |= {n: g for n, g in zip(DIFFERENTIABLE, results, strict=True) if g.numel()}
    return struct(native.Gradients, tensors), incoming
