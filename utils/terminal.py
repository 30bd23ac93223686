"""A command's life does not hang on its chatter: what nobody can hear is dropped."""

import gc
import io
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

INTERRUPTED = 130


class Patient(io.TextIOWrapper):
    """A stream that drops what cannot be written: a closed pipe, a vanished terminal, a full disk.

    The first failure puts the null device in the place of its file, so that nothing fails later:
    no library that writes there, and not the interpreter, which flushes at its end.
    """

    def write(self, text: str) -> int:
        self._try(super().write, text)
        return len(text)

    def flush(self) -> None:
        self._try(super().flush)

    def _try(self, call: Callable[..., object], *args: Any) -> None:
        try:
            call(*args)
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)


def begin_command() -> None:
    """Make stdout and stderr patient, and Ctrl-C one line and code 130. To be called before the
    imports, which take a second, a tenth of it for looking in vain for garbage: that waits."""
    gc.disable()
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file that is opened would be printed into
            os.open(os.devnull, os.O_RDWR)
    for name, number in (("stdout", 1), ("stderr", 2)):
        encoding = getattr(getattr(sys, name), "encoding", None) or "utf-8"
        # A path that is no text in the terminal's encoding is printed with escapes.
        text = {"encoding": encoding, "errors": "backslashreplace", "line_buffering": True}
        setattr(sys, name, Patient(os.fdopen(number, "wb", closefd=False), **text))
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def started() -> None:
    """From here on Ctrl-C is a KeyboardInterrupt again, which cleans up. Garbage is collected, but
    not looked for among what was imported, which stays."""
    gc.freeze()
    gc.enable()
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, frame: FrameType | None) -> None:
    # An exception would be lost, or turned into others, in the middle of a C library's import.
    with suppress(OSError):
        os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)
