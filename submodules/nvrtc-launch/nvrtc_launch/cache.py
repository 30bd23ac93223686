"""Compiled code on disk: one file per key, never seen half-written, never trusted blindly."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

__all__ = ["cache_folder", "digest", "load", "store"]


def cache_folder() -> Path:
    """$NVRTC_LAUNCH_CACHE, else nvrtc-launch in $XDG_CACHE_HOME or ~/.cache."""
    if folder := os.environ.get("NVRTC_LAUNCH_CACHE"):
        return Path(folder)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "nvrtc-launch")


def digest(parts: Iterable[str | bytes]) -> str:
    """One hash of all parts, in which their borders count."""
    total = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode()
        total.update(len(data).to_bytes(8, "little"))
        total.update(data)
    return total.hexdigest()


def load(path: Path) -> bytes | None:
    """What `store` wrote there; None where there is nothing, or something damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    checksum, content = data[:32], data[32:]
    return content if hashlib.sha256(content).digest() == checksum else None


def store(path: Path, content: bytes) -> bool:
    """Write the file with its checksum in front. False where the folder cannot be written."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            temporary = file.name
            file.write(hashlib.sha256(content).digest() + content)
        os.replace(temporary, path)  # other processes see the old file or the whole new one
    except OSError:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        return False
    return True
