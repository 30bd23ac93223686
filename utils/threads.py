"""Import this first, before torch: idle worker threads must sleep, not spin; freed memory must
stay; Ctrl-C, too little memory or a missing package while the rest is imported is one line; and who
asks for help alone does not wait for torch.

OpenMP's default is to busy-wait between parallel loops; beside one other job on the machine that
made a training step 40 times slower. The choice is read when torch loads its OpenMP library, hence
at import. A user's own OMP_WAIT_POLICY is respected.

glibc hands back what a step frees, and the next step fetches it again, page by page: at 800x800
half of a training step went there. A user's own MALLOC_ variables are respected. Blocks of more
than 32 MiB, such as the gradient of a head's bases, it hands back all the same: torch fetches these
in huge pages, where the system has them, which takes a third of the time.
"""

import ctypes
import os
import resource
import sys
from pathlib import Path
from types import TracebackType

from utils.errors import InputError, can_be_mended, leave
from utils.stand_ins import only_help, stand_in

ROOT = Path(__file__).parents[1]
START_BYTES = 700 * 2**20  # of address space; with less, the libraries fail, or try for ever
# variable of glibc -> its number in mallopt, bytes: larger blocks are fetched from the system
# singly; this much may stay free; so much is fetched at once
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": (-3, 32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": (-1, 2**31 - 1),
    "MALLOC_TOP_PAD_": (-2, 64 * 2**20),
}


def _keep_freed_memory() -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's; others have none
    for variable, choice in MALLOC.items():
        if mallopt is not None and variable not in os.environ:
            mallopt(*choice)


def _told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    elif can_be_mended(error) and "--debug" not in sys.argv:
        leave(error)
    elif isinstance(error, ImportError) and not _is_ours(error.name):
        lacks = f"{sys.executable} lacks what this checkout needs ({error})"
        leave(InputError(f"{lacks}; run make setup, then . .venv/bin/activate"))
    else:
        sys.__excepthook__(kind, error, trace)


def _is_ours(module: str | None) -> bool:
    """Whether a module, or one of no name, is of this checkout, and not of an installed package."""
    top = (module or "").partition(".")[0]
    return (ROOT / top).exists() or (ROOT / f"{top}.py").exists()


os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
_keep_freed_memory()
sys.excepthook = _told
if 0 <= resource.getrlimit(resource.RLIMIT_AS)[0] < START_BYTES:
    leave(MemoryError(f"ulimit -v allows less than the {START_BYTES >> 20} MiB of a start"))
if only_help(sys.argv[1:]) and not sys.modules.keys() & {"torch", "pytest"}:
    stand_in()
