"""Whole files and folders or none: what is written under a temporary name replaces the target."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from utils.errors import InputError

# In the names of files and folders that are being written or removed. Nobody else's end like this:
# what a killed process left is known by it.
PART = ".gaussians-part"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with its suffix; on success it becomes `path`.

    On any failure the temporary file goes and `path` keeps what it had. An OSError (no space,
    no permission) is raised as an `InputError` naming `path`.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{PART}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path, remedy: str) -> Iterator[Path]:
    """Yield an empty folder beside `folder`; once all in it is on the disk, it becomes `folder`.

    On any failure it goes, and `folder` keeps what it had. A failure of the disk is raised as an
    `InputError` naming `folder`, the reason and the `remedy`.
    """
    part = folder.with_name(folder.name + PART)
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        for path in (*part.rglob("*"), part):
            _to_disk(path)
        if folder.is_dir():
            remove_folder(folder)  # renaming onto a folder that is not empty is refused
        os.rename(part, folder)
    except (OSError, SafetensorError, InputError) as error:
        cause = error.__cause__ if isinstance(error, InputError) else error
        if not isinstance(cause, OSError | SafetensorError):
            raise
        full = "No space left" in str(error)
        reason = "the disk is full" if full else getattr(error, "strerror", None) or error
        raise InputError(f"{folder}: could not be written: {reason}; {remedy}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 `text` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def append_text(path: Path, text: str) -> None:
    """Add UTF-8 `text` to the end of `path`; raises `InputError` where that is not possible."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise _cannot_write(path, error) from error


def write_json(path: Path, value: object) -> None:
    """Write `value` as standard JSON (no NaN or Infinity: those raise ValueError)."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> object:
    """Read a JSON file; missing, cut or not JSON raises an `InputError` naming it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the path") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}); write it again") from error


def remove_folder(folder: Path) -> None:
    """Remove a folder that must never be seen half removed: it loses its name first."""
    aside = folder.with_name(f"{folder.name}.old{PART}")
    shutil.rmtree(aside, ignore_errors=True)
    os.rename(folder, aside)
    shutil.rmtree(aside)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes were writing in `folder` and the folders in it."""
    for path in [*folder.glob(f"*{PART}"), *folder.glob(f"*/*{PART}")]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
    for path in [*folder.glob(f".*{PART}*"), *folder.glob(f"*/.*{PART}*")]:
        writer = re.fullmatch(rf"\..+\.(\d+){PART}(\.\w+)?", path.name)
        if writer and not _runs(int(writer[1])):
            path.unlink()


def _to_disk(path: Path) -> None:
    """Wait until a file or folder is on the disk: a name must not survive a power cut alone."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True


def _cannot_write(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path}: cannot be written ({error.strerror or error}); check free space and permissions"
    )
