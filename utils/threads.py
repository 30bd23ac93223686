"""Import this first, before torch: idle worker threads must sleep, not spin, and Ctrl-C or too
little memory while the rest is imported is one line.

OpenMP's default is to busy-wait between parallel loops; beside one other job on the machine that
made a training step 40 times slower. The choice is read when torch loads its OpenMP library, hence
at import. A user's own OMP_WAIT_POLICY is respected.

Large tensors come in huge pages, where the system has them: a gradient of 30 MB is new memory at
every step, and to get it in pages of 4 KB takes longer than to compute it.
"""

import os
import resource
import sys
from types import TracebackType

from utils.errors import can_be_mended, leave

START_BYTES = 700 * 2**20  # of address space; with less, the libraries fail, or try for ever


def _told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    elif can_be_mended(error) and "--debug" not in sys.argv:
        leave(error)
    else:
        sys.__excepthook__(kind, error, trace)


os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
sys.excepthook = _told
if 0 <= resource.getrlimit(resource.RLIMIT_AS)[0] < START_BYTES:
    leave(MemoryError(f"ulimit -v allows less than the {START_BYTES >> 20} MiB of a start"))
