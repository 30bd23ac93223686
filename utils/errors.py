"""What a user can mend is an `InputError`; every command turns it into one line and exit code 2."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

# What the operating system refuses for reasons that lie with the user's disk.
FOR_THE_USER = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


class InputError(ValueError):
    """Bad input from outside: the text names the file, what was found, what was expected, what to do."""


def run_command(main: Callable[[], None], *, debug: bool) -> None:
    """Run a command's `main`; an `InputError` becomes one line on stderr and exit code 2.

    A full or forbidden disk is told the same way. With `debug` the traceback is kept. Errors of our
    own making are never caught here.
    """
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except (InputError, OSError) as error:
        if debug or not (isinstance(error, InputError) or error.errno in FOR_THE_USER):
            raise
        print(f"error: {' '.join(_sentence(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None


def _sentence(error: InputError | OSError) -> str:
    if isinstance(error, InputError):
        return str(error)
    return f"{error.filename or 'writing'}: {error.strerror}; check free space and permissions"
