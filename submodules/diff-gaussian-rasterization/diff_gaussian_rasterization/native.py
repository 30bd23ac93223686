"""The shared library behind a C ABI: found, checked and loaded once, called through ctypes."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
from pathlib import Path
from typing import ClassVar

import torch

INTERFACE = 2  # must equal dgr_interface() of the library
CHOICE = "DIFF_GAUSSIAN_RASTERIZATION_VARIANT"  # environment: avx512, avx2 or portable
BAD_CAMERA = "viewmat and K must be finite, with K[0, 0] > 0 and K[1, 1] > 0"
TOO_MANY_PAIRS = "more than 2^{} pairs of tiles and Gaussians; are the scales too large?"
_HERE = Path(__file__).resolve().parent
_LIBRARY = _HERE / "_native.so"
_REBUILD = "rebuild it: pip install --no-build-isolation ./submodules/diff-gaussian-rasterization"

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
        *((name, _I32) for name in ("threads", "is_double", "unused")),
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
        *((name, _P) for name in ("sh", "colors", "means2d", "viewmat", "background")),
    ]


def pointer(tensor: torch.Tensor | None) -> int | None:
    """Address of a dense tensor's data, or None."""
    return None if tensor is None else tensor.data_ptr()


def is_built() -> bool:
    """Whether native code was built with the package."""
    return _LIBRARY.exists()


@functools.cache
def library() -> ctypes.CDLL:
    """Load the library once; ImportError says what is wrong with it and how to mend that."""
    try:
        lib = ctypes.CDLL(str(_LIBRARY))
        interface = lib.dgr_interface()
    except (OSError, AttributeError) as error:
        raise ImportError(f"{_LIBRARY} cannot be loaded ({error}); {_REBUILD}") from error
    if interface != INTERFACE:
        raise ImportError(
            f"{_LIBRARY} has interface {interface}, this package needs {INTERFACE}; {_REBUILD}"
        )
    lib.dgr_sources.restype = lib.dgr_variant.restype = ctypes.c_char_p
    built_from, sources = lib.dgr_sources().decode(), _source_hash()
    if sources != built_from:
        raise ImportError(
            f"{_LIBRARY} was built from other sources than those in csrc "
            f"({built_from}, not {sources}); {_REBUILD}"
        )
    for function in (lib.dgr_forward, lib.dgr_backward):
        function.restype = _I64
    lib.dgr_choose.argtypes = [ctypes.c_char_p]
    if choice := os.environ.get(CHOICE):
        _choose(lib, choice)
    return lib


def variant() -> str:
    """Name of the kernels in use: avx512, avx2 or portable."""
    return library().dgr_variant().decode()


def choose_variant(name: str) -> None:
    """Use the kernels for `name` from now on; ValueError when this machine cannot run them."""
    _choose(library(), name)


def call(function: str, *arguments) -> int:
    """Call by name; structs go by address, and a negative result is raised as what it means."""
    by_address = (ctypes.byref(x) if isinstance(x, ctypes.Structure) else x for x in arguments)
    result = getattr(library(), function)(*by_address)
    if result == -1:
        raise ValueError(BAD_CAMERA)
    if result == -2:
        raise MemoryError("not enough memory for the rasterizer's tile lists")
    if result == -3:
        raise ValueError(TOO_MANY_PAIRS.format(32))
    return result


def _choose(lib: ctypes.CDLL, name: str) -> None:
    result = lib.dgr_choose(name.encode())
    if result == -1:
        raise ValueError(
            f"{CHOICE} or name is {name!r}; this build has avx512, avx2 and portable on x86-64, "
            "portable elsewhere"
        )
    if result == -2:
        raise ValueError(f"this processor cannot run the {name!r} kernels")


def _source_hash() -> str:
    """As setup.py takes it."""
    digest = hashlib.sha256()
    for path in sorted((_HERE / "csrc").glob("*.[ch]*")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
