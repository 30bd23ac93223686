"""Work in a thread of its own, in order, while the caller goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

MOST = 4  # calls that wait, each with what it was given


class Behind:
    """`with Behind() as later: later(write, path, picture)` runs the calls one after the other; at
    the end of the block all have run.

    What a call raises, one of the next ones raises, or the end of the block. Those that still wait
    then do not run, nor where the block itself fails.
    """

    def __enter__(self) -> Behind:
        self._thread = ThreadPoolExecutor(1)
        self._waiting: deque[Future[object]] = deque()
        return self

    def __call__(self, work: Callable[..., object], *given: object) -> None:
        """Have `work(*given)` run; waits while too many do."""
        while self._waiting and (self._waiting[0].done() or len(self._waiting) > MOST):
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(work, *given))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            while kind is None and self._waiting:
                self._waiting.popleft().result()
        finally:
            self._thread.shutdown(cancel_futures=True)
