"""What every refusal of a file must keep to: one line that names it, soon and in little memory."""

import time
import tracemalloc

import pytest

from utils.errors import InputError

SECONDS, MEMORY, LETTERS = 2.0, 200e6, 900


def refused_cheaply(call, said, size):
    """`call()` raises an InputError that matches `said`; `size`: bytes of what it reads.

    Returns the line. Seconds are the processor's: other work on the machine does not count.
    """
    start = time.process_time()
    with pytest.raises(InputError, match=said) as raised:
        call()
    assert time.process_time() - start < SECONDS
    line = str(raised.value)
    assert len(line.splitlines()) == 1
    assert len(line) < LETTERS
    tracemalloc.start()
    try:
        with pytest.raises(InputError):
            call()
        assert tracemalloc.get_traced_memory()[1] < MEMORY + size
    finally:
        tracemalloc.stop()
    return line
