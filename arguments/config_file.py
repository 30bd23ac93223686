"""Config files: Python assignments, with `_base_` for inheritance.

A file's names are its keys; dunder names, modules, functions and classes are not. `_base_` is a
path or a list of paths relative to the file. Dicts merge deeply, everything else replaces, and a
dict with `_delete_=True` replaces too: the rules of mmcv, which 4DGS used to read these files.
"""

from __future__ import annotations
import __future__

import os
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from utils.errors import InputError
from utils.files import read_bytes, short

MAX_BYTES = 2**20  # of a config file


@dataclass(frozen=True)
class Config:
    """A config file merged over its bases."""

    path: str
    values: dict[str, Any]  # by top-level name
    origins: dict[tuple[str, ...], str]  # (section, key) or (name,) -> the file that set it last

    def origin(self, *name: str) -> str:
        """The file that set a name, or a key of a section."""
        return self.origins.get(name, self.path)


def read_config(path: str | os.PathLike[str]) -> Config:
    """Run a config file and merge it over its bases.

    Raises InputError, naming file and line, for a missing file, a syntax error, an exception
    inside, a base that leads back to the file, and a key that two bases define.
    """
    return _read(os.path.normpath(path), ())


def _read(path: str, children: tuple[str, ...]) -> Config:
    if path in children:
        chain = " -> ".join([*children[children.index(path) :], path])
        raise InputError(f"{path}: _base_ leads back to the file itself: {chain}; remove one link")
    own = _run(path, children)
    bases = own.pop("_base_", [])
    values: dict[str, Any] = {}
    origins: dict[tuple[str, ...], str] = {}
    for base in _base_paths(bases, path):
        config = _read(base, (*children, path))
        for name in values.keys() & config.values.keys():
            raise InputError(
                f"{path}: its bases {origins[name,]} and {config.origin(name)} both define "
                f"{name!r}; keep it in one of them"
            )
        values |= config.values
        origins |= config.origins
    values = merge(values, own, path)
    origins |= dict.fromkeys(_names(own), path)
    return Config(path, values, origins)


def _base_paths(bases: Any, path: str) -> list[str]:
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list | tuple) or not all(isinstance(base, str) for base in bases):
        raise InputError(f"{path}: _base_ is {bases!r}, expected a path or a list of paths")
    return [os.path.normpath(os.path.join(os.path.dirname(path), base)) for base in bases]


def _names(values: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, value in values.items():
        yield (name,)
        if isinstance(value, dict):
            yield from ((name, key) for key in value)


def _run(path: str, children: tuple[str, ...]) -> dict[str, Any]:
    """The plain names that a config file defines."""
    try:
        source = read_bytes(Path(path), MAX_BYTES)
    except InputError as error:
        asked = f", the _base_ of {children[-1]}" if children else ""
        raise InputError(f"{short(path)}: cannot read this config file{asked}: {error}") from None
    namespace: dict[str, Any] = {"__file__": path, "__name__": "__config__"}
    try:
        exec(compile(source, path, "exec", dont_inherit=True), namespace)
    except SyntaxError as error:
        where = f"{path}, line {error.lineno}" if error.lineno else path
        raise InputError(f"{where}: not valid Python: {error.msg}") from None
    except (Exception, SystemExit) as error:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
        where = f"{path}, line {lines[-1]}" if lines else path
        raise InputError(f"{where}: {type(error).__name__}: {error}") from None
    return {name: value for name, value in namespace.items() if _is_key(name, value)}


def _is_key(name: str, value: Any) -> bool:
    helper = isinstance(value, ModuleType | __future__._Feature) or callable(value)
    return not (name.startswith("__") or helper)


def merge(base: dict[str, Any], child: dict[str, Any], where: str) -> dict[str, Any]:
    """`child` over `base`, deeply; neither is changed. `where` opens the error message."""
    merged = dict(base)
    for key, value in child.items():
        if not isinstance(value, dict):
            merged[key] = value
            continue
        value = dict(value)
        replaces = value.pop("_delete_", False) or key not in base
        if not replaces and not isinstance(base[key], dict):
            raise InputError(
                f"{where}: {key} is a dict, but its base has {base[key]!r} there; "
                "add _delete_=True to replace it"
            )
        merged[key] = merge({} if replaces else base[key], value, where)
    return merged
