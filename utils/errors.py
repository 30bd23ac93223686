"""What a user can mend is an `InputError`; every command turns it into one line and exit code 2."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# What the operating system refuses for reasons that lie with the user's disk.
FOR_THE_USER = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


class InputError(ValueError):
    """Bad input from outside: the text names the file, what was found, what was expected, what to
    do."""


def run_command(main: Callable[[], T], *, debug: bool) -> T:
    """What a command's `main` returns; an `InputError` becomes one line on stderr and exit code 2.

    A full or forbidden disk and a full GPU are told the same way. With `debug` the traceback is
    kept. Errors of our own making are never caught here.
    """
    try:
        return main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except (InputError, OSError, RuntimeError) as error:
        if debug or not _can_be_mended(error):
            raise
        print(f"error: {' '.join(_sentence(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None


def _can_be_mended(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in FOR_THE_USER
    return isinstance(error, InputError) or _is_full_gpu(error)


def _is_full_gpu(error: Exception) -> bool:
    """By name: scripts that need no torch should not load it for its error."""
    return type(error).__name__ == "OutOfMemoryError"


def _sentence(error: Exception) -> str:
    if isinstance(error, InputError):
        return str(error)
    if _is_full_gpu(error):
        return (
            f"{error} Lower --max_gaussians, or take smaller pictures with -r, and begin with "
            "--restart"
        )
    return f"{error.filename or 'writing'}: {error.strerror}; check free space and permissions"
