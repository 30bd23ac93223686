"""Structs that Python and native code share."""

from __future__ import annotations

from typing import Any


def members(**types: Any) -> tuple[tuple[str, Any], ...]:
    """The `_fields_` of a ctypes.Structure, in the order given."""
    return tuple(types.items())
