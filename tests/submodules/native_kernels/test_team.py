"""csrc/team.h: as many threads as were asked for, every task once, meetings that all keep."""

import ctypes
import os
import threading
import time
from pathlib import Path

import pytest


def run_team(library, threads: int, tasks: int = 1000) -> bool:
    """Whether so many threads, and no others, did each of the tasks once per round."""
    size = max(threads, 1)
    ranks, done = (ctypes.c_int * 16)(), (ctypes.c_int * tasks)()
    ran = library.load().run_team(threads, tasks, ranks, done)
    all_ranks = [*range(1, size + 1), *[0] * (16 - size)]
    return ran == size and list(ranks) == all_ranks and set(done) <= {2}


def threads_here() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.parametrize("threads", [0, 1, 2, 3, 8])
def test_a_team_has_the_threads_asked_for_and_does_every_task_once_per_round(library, threads):
    assert run_team(library, threads)


def test_a_team_grows_and_shrinks_from_call_to_call(library):
    for size in (2, 5, 1, 3, 8, 2):
        assert all(run_team(library, size, tasks) for tasks in (0, 1, 99))


def test_the_calling_thread_takes_its_team_along(library):
    library.load()
    before, found = threads_here(), []
    caller = threading.Thread(
        target=lambda: found.extend((run_team(library, 4), run_team(library, 4), threads_here()))
    )
    caller.start()
    caller.join()
    assert found == [True, True, before + 4]
    deadline = time.monotonic() + 60  # Python's thread is joined before the system's has ended
    while threads_here() != before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threads_here() == before


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_has_a_team_of_its_own(library):
    assert run_team(library, 3)
    child = os.fork()
    if child == 0:
        os._exit(0 if run_team(library, 3) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert run_team(library, 3)
