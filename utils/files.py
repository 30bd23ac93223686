"""Whole files and folders or none; and the border that every file from outside must pass.

What is written under a temporary name replaces its target. What is read is a regular file of
bounded size, and whatever its parser stumbles over is an `InputError` that names it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from utils.errors import InputError

# In the names of files and folders that are being written or removed. Nobody else's end like this:
# what a killed process left is known by it.
PART = ".gaussians-part"
MAX_BYTES = 2**33  # of any file that is read
MAX_JSON = 2**28  # bytes; 100,000 frames with their poses take half of it
MAX_DIGITS = 300  # of an integer; a float holds no more
AT_ONCE = 16  # files whose way to the disk is waited for: a journal writes many as fast as one


def user_path(text: str) -> Path:
    """The path that a user wrote, where `~` is the home folder; shells expand no `--x=~/y`."""
    return Path(os.path.expanduser(text))


def regular(path: Path, limit: int = MAX_BYTES, *, remedy: str = "check the path") -> int:
    """The size in bytes of a file that may be opened: a pipe would wait, a device never end.

    Raises InputError for what is missing, no regular file, or larger than `limit` bytes.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {remedy}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{short(path)}: cannot be read ({short(error)}); {remedy}") from None
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or a device"
        raise InputError(f"{path}: cannot be read: it is {kind}, expected a file; {remedy}")
    if found.st_size > limit:
        raise InputError(f"{path}: {found.st_size:,} bytes, expected at most {limit:,}; {remedy}")
    return found.st_size


def inside(folder: Path, path: Path) -> Path:
    """`path` without its detours, after looking that no link leads from `folder` to it.

    `folder` may itself be a link. Raises InputError where a part of the way is a symbolic link or
    leaves the folder: one that was downloaded could have files read, or overwritten, that are none
    of its own.
    """
    parts = Path(os.path.relpath(os.path.abspath(path), os.path.abspath(folder))).parts
    at = Path(folder)
    for part in parts:
        at = at / part
        if part == ".." or at.is_symlink():
            found = "leads out of" if part == ".." else "is a link in"
            raise InputError(
                f"{at}: it {found} {folder}, where all must be its own; put a copy in its place"
            )
    return at


def own_folder(model_path: Path, target: Path) -> Path:
    """`target`, a folder in `model_path` that may be written to or emptied, there or not yet.

    Raises InputError where an existing part of the way is a symbolic link or no folder.
    """
    target = inside(model_path, target)
    for folder in (target, *target.parents):
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: it is no folder; move it away or choose another one")
        if folder == model_path:
            break
    return target


@contextmanager
def reading(path: Path | str, kind: str, remedy: str = "write it again") -> Iterator[None]:
    """Turn whatever a parser raises into an InputError that names the file.

    `kind`: what it was read as. Files of strangers make parsers raise anything at all.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: cannot be read as {kind} ({short(error)}); {remedy}") from error


def short(said: object) -> str:
    """The first line of an error, or a path, of bounded length: for one line of a message."""
    reason = getattr(said, "strerror", None) or str(said)
    line = (reason.strip().splitlines() or [type(said).__name__])[0]
    return line if len(line) <= 200 else f"{line[:200]} ..."


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with its suffix; on success it becomes `path`.

    On any failure the temporary file goes and `path` keeps what it had. An OSError (no space,
    no permission) is raised as an `InputError` naming `path`.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{PART}{path.suffix}")
    try:
        temporary.unlink(missing_ok=True)  # a link of that name would be written through
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
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(_to_disk, (*part.rglob("*"), part)))
        if folder.is_dir() and not folder.is_symlink():
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
        # Names of files need not be UTF-8.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def append_text(path: Path, text: str) -> None:
    """Add UTF-8 `text` to the end of `path`; raises `InputError` where that is not possible.

    A link is not followed, and a pipe is not waited for.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o666)
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as error:
        raise _cannot_write(path, error) from error


def write_json(path: Path, value: object) -> None:
    """Write `value` as standard JSON (no NaN or Infinity: those raise ValueError)."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path, limit: int = MAX_JSON) -> object:
    """Read a JSON file of at most `limit` bytes, with or without a byte order mark.

    Missing, cut, nested without end, with numbers or text that nothing can hold: `InputError`
    naming it.
    """
    with reading(path, "JSON"):
        text = read_bytes(path, limit).decode("utf-8-sig")
        value = json.loads(text, parse_int=_integer)
        if "\\ud" in text or "\\uD" in text:  # half a character, which no name of a file holds
            os.fsencode(json.dumps(value, ensure_ascii=False))
        return value


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """What a regular file holds; InputError as `regular` says."""
    regular(path, limit)
    with reading(path, "a file", "check permissions"):
        return path.read_bytes()


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
    full = error.errno == errno.ENOSPC
    remedy = "the disk is full; make room" if full else "check free space and permissions"
    return InputError(f"{path}: cannot be written ({error.strerror or error}); {remedy}")


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)
