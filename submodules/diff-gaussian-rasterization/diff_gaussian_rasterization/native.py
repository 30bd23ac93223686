"""The shared library behind a C ABI, called through ctypes."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import ClassVar

import torch
from native_kernels import Library

BAD_CAMERA = "viewmat and K must be finite, with K[0, 0] > 0 and K[1, 1] > 0"
TOO_MANY_PAIRS = "more than 2^{} pairs of tiles and Gaussians; are the scales too large?"
_P, _I32, _I64, _F64 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_double


# DgrAllocate: room for so many pairs.
Allocate = ctypes.CFUNCTYPE(_P, _I64)

SCENE_TENSORS = (
    *("means", "quats", "scales", "covariances", "opacities"),
    *("sh", "colors", "viewmat", "K", "background"),
)


class Scene(ctypes.Structure):
    """DgrScene of csrc/rasterizer.h."""

    _fields_: ClassVar = [
        ("count", _I64),
        *((name, _I32) for name in ("width", "height", "channels", "sh_bases", "sh_degree")),
        *((name, _I32) for name in ("threads", "is_double", "antialiased")),
        *((name, _F64) for name in ("near_plane", "far_plane")),
        *((name, _P) for name in SCENE_TENSORS),
    ]


class State(ctypes.Structure):
    """DgrState of csrc/rasterizer.h."""

    _fields_: ClassVar = [
        (name, _P) for name in ("splats", "features", "radii", "offsets", "pairs", "tiles")
    ]


class Image(ctypes.Structure):
    """DgrImage of csrc/rasterizer.h."""

    _fields_: ClassVar = [(name, _P) for name in ("color", "depth", "alpha")]


class Gradients(ctypes.Structure):
    """DgrGradients of csrc/rasterizer.h."""

    _fields_: ClassVar = [
        *((name, _P) for name in ("color", "depth", "alpha")),
        *((name, _P) for name in ("means", "quats", "scales", "covariances", "opacities")),
        *((name, _P) for name in ("sh", "colors", "means2d", "means2d_abs")),
        *((name, _P) for name in ("viewmat", "background")),
    ]


def pointer(tensor: torch.Tensor | None) -> int | None:
    """Address of a dense tensor's data, or None."""
    return None if tensor is None else tensor.data_ptr()


def _declare(library: ctypes.CDLL) -> None:
    library.dgr_forward.restype = library.dgr_backward.restype = _I64


LIBRARY = Library(Path(__file__).resolve().parent, _declare)


def variant() -> str:
    """Name of the kernels in use: avx512, avx2 or portable."""
    return LIBRARY.variant()


def choose_variant(name: str) -> None:
    """Use the kernels for `name` from now on; ValueError when this machine cannot run them."""
    LIBRARY.choose(name)


def call(function: str, *arguments) -> int:
    """Call by name; structs go by address, and a negative result is raised as what it means."""
    by_address = (ctypes.byref(x) if isinstance(x, ctypes.Structure) else x for x in arguments)
    result = getattr(LIBRARY.load(), function)(*by_address)
    if result == -1:
        raise ValueError(BAD_CAMERA)
    if result == -2:
        raise MemoryError("not enough memory for the rasterizer's tile lists")
    return result
