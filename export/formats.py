"""The formats by the suffix of their files. A module has `AXES` and `MOVES`; one that stands still
has `write_one` and `read_one`, one that moves `write_moving` and `read_moving`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

from utils.errors import InputError

MODULES = {
    ".ply": "ply",
    ".compressed.ply": "compressed_ply",
    ".splat": "splat",
    ".spz": "spz",
    ".v4.spz": "spz_v4",
    ".sog": "sog",
    ".glb": "glb",
    ".usdc": "usdc",
    ".4dgs": "keyframes",
    ".html": "page",
}


def suffix_of(path: Path) -> str:
    """The longest known suffix of a file's name; InputError lists them."""
    fitting = [suffix for suffix in MODULES if path.name.lower().endswith(suffix)]
    if not fitting:
        raise InputError(f"{path}: its suffix names no format; there are {', '.join(MODULES)}")
    return max(fitting, key=len)


def format_of(path: Path) -> ModuleType:
    """The module that writes such a file."""
    return import_module(f"export.{MODULES[suffix_of(path)]}")


def numbered(path: Path, k: int) -> Path:
    """The file of moment `k`: digits before the suffix, which players of sequences sort by."""
    suffix = path.name[-len(suffix_of(path)) :]
    return path.with_name(f"{path.name[: -len(suffix)]}_{k:05d}{suffix}")
