"""What a user can mend is an `InputError`; every command turns it into one line and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Callable


class InputError(ValueError):
    """Bad input from outside: the text names the file, what was found, what was expected, what to do."""


def run_command(main: Callable[[], None], *, debug: bool) -> None:
    """Run a command's `main`; an `InputError` becomes one line on stderr and exit code 2.

    With `debug` the traceback is kept. Errors of our own making are never caught here.
    """
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except InputError as error:
        if debug:
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
