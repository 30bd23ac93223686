"""What a user can mend is an `InputError`; every command turns it into one line and exit code 2."""

from __future__ import annotations

import errno
import reprlib
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import NoReturn, TypeVar

T = TypeVar("T")

# What the operating system refuses for reasons that lie with the user's disk.
FOR_THE_USER = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
# What it refuses for the path that was given, or for a disk that fails.
PATHS = {errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EIO, errno.ESTALE}
# torch has no error of its own
FULL_MEMORY = ("can't allocate memory", "not enough memory", "Storage size calculation overflowed")
FULL_MEMORY += ("failed to map segment",)  # nor has the loader of libraries


class InputError(ValueError):
    """Bad input from outside: the text names the file, what was found, what was expected, what to
    do."""


def run_command(main: Callable[[], T], *, debug: bool) -> T:
    """What a command's `main` returns; an `InputError` becomes one line on stderr and exit code 2.

    A full or forbidden disk, a path that is none and full memory are told the same way. With
    `debug` the traceback is kept. Errors of our own making are never caught here.
    """
    if isinstance(sys.stdout, TextIOWrapper):  # names of files need not be UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except (InputError, OSError, RuntimeError, MemoryError) as error:
        if debug or not can_be_mended(error):
            raise
        leave(error)


def can_be_mended(error: BaseException) -> bool:
    """Whether it lies outside: with the input, the disk or the memory."""
    if isinstance(error, OSError):
        return error.errno in FOR_THE_USER | PATHS
    return isinstance(error, InputError) or _is_full_gpu(error) or _is_full(error)


def leave(error: BaseException) -> NoReturn:
    """Say in one line what can be mended, and exit with code 2."""
    print(f"error: {' '.join(_sentence(error).split())}", file=sys.stderr)
    raise SystemExit(2) from None


def shown(value: object) -> str:
    """`repr` for a message: of bounded length, however long or deep the value is."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 100
    return short.repr(value)


def _is_full_gpu(error: BaseException) -> bool:
    """By name: scripts that need no torch should not load it for its error."""
    return type(error).__name__ == "OutOfMemoryError"


def _is_full(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or any(words in str(error) for words in FULL_MEMORY)


def _sentence(error: BaseException) -> str:
    if isinstance(error, InputError):
        return str(error)
    if _is_full_gpu(error):
        return (
            f"{error} Lower --max_gaussians, or take smaller pictures with -r, and begin with "
            "--restart"
        )
    if _is_full(error):
        return (
            f"there is not enough memory ({str(error)[:200] or 'MemoryError'}); lower "
            "--max_gaussians and --cache_mb, take smaller pictures with -r, or raise a limit set "
            "by ulimit -v"
        )
    remedy = "check the path" if error.errno in PATHS else "check free space and permissions"
    name = str(error.filename or "writing")
    return f"{name if len(name) <= 300 else name[:300] + '...'}: {error.strerror}; {remedy}"
