"""Values of settings, checked and converted: from config files (typed) and from flags (text)."""

from __future__ import annotations

import json
from difflib import get_close_matches
from numbers import Real
from typing import Any, get_args, get_origin

from utils.errors import shown

MAX_TEXT = 4_096  # characters of a setting; no path is longer


def nearest(name: str, names: list[str], otherwise: str) -> str:
    """The end of a sentence about an unknown name: the nearest known one, or `otherwise`."""
    close = get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else otherwise


def convert(value: Any, kind: Any, name: str) -> Any:
    """`value` as `kind`: bool, int, float, str or a list of one of these.

    An integral float is an int and an int is a float, but a bool is neither.
    Raises ValueError with `name`, the value and its type found, and the type expected.
    """
    if get_origin(kind) is not list:
        return _scalar(value, kind, name)
    if not isinstance(value, list | tuple):
        raise _mismatch(value, kind, name)
    (item,) = get_args(kind)
    return [convert(v, item, f"{name}[{i}]") for i, v in enumerate(value)]


def convert_dict(value: Any, base: dict[str, Any], name: str) -> dict[str, Any]:
    """`value` deeply over `base`, whose keys and types are all that is allowed.

    Raises ValueError with `name` and the unknown key, or as `convert` does.
    """
    if not isinstance(value, dict):
        raise _mismatch(value, dict, name)
    merged = dict(base)
    for key, new in value.items():
        if key not in base:
            known = ", ".join(base)
            raise ValueError(f"{name} has no key {shown(key)}; {nearest(str(key), [*base], known)}")
        old = base[key]
        if isinstance(old, dict):
            merged[key] = convert_dict(new, old, f"{name}.{key}")
        else:
            kind = list[type(old[0])] if isinstance(old, list) else type(old)
            merged[key] = convert(new, kind, f"{name}.{key}")
            if isinstance(old, list) and len(new) != len(old):
                raise ValueError(f"{name}.{key} has {len(new)} entries, expected {len(old)}")
    return merged


def from_text(text: str | list[str], kind: Any, name: str) -> Any:
    """The value that a flag's text means for `kind`; a dict is written as JSON.

    Raises ValueError with `name`, the text and the type expected.
    """
    if isinstance(text, list):
        return [from_text(item, get_args(kind)[0], name) for item in text]
    try:
        return _FROM_TEXT[kind](text)
    except (ValueError, KeyError, RecursionError):
        raise ValueError(f"{name} is {shown(text)}, expected {describe(kind)}") from None


def describe(kind: Any) -> str:
    """A type in the words of the error messages and of `--help`."""
    if get_origin(kind) is list:
        return f"a list of {get_args(kind)[0].__name__}"
    return {bool: "true or false", dict: "a dict"}.get(kind, kind.__name__)


def _mismatch(value: Any, kind: Any, name: str) -> ValueError:
    found = f"{shown(value)} ({type(value).__name__})"
    if kind is str and isinstance(value, str):
        return ValueError(f"{name} is {found}, expected at most {MAX_TEXT:,} letters and no NUL")
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return ValueError(f"{name} is {found}, expected one of at most 64 bits")
    return ValueError(f"{name} is {found}, expected {describe(kind)}")


def _scalar(value: Any, kind: type, name: str) -> Any:
    number = isinstance(value, Real) and not isinstance(value, bool)
    fits = {
        bool: isinstance(value, bool),
        int: number and _fits(value, 2**63) and float(value).is_integer(),
        float: number and _fits(value, 1e308),
        str: isinstance(value, str) and "\0" not in value and len(value) <= MAX_TEXT,
    }
    if not fits[kind]:
        raise _mismatch(value, kind, name)
    return kind(value)


def _fits(value: float, limit: float) -> bool:
    """Not NaN, and where torch can hold it."""
    return -limit <= value < limit


def _int_from_text(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        if not float(text).is_integer():  # 3e4 is one
            raise
        return int(float(text))


_BOOLS = {"true": True, "1": True, "yes": True, "on": True}
_BOOLS |= {"false": False, "0": False, "no": False, "off": False}
_FROM_TEXT = {
    bool: lambda text: _BOOLS[text.lower()],
    int: _int_from_text,
    float: float,
    str: str,
    dict: json.loads,
}
