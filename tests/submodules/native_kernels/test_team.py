"""csrc/team.h: as many threads as were asked for, every task once, meetings that all keep."""

import ctypes

import pytest


@pytest.mark.parametrize("threads", [0, 1, 2, 3, 8])
def test_a_team_has_the_threads_asked_for_and_does_every_task_once_per_round(library, threads):
    tasks, size = 1000, max(threads, 1)
    ranks, done = (ctypes.c_int * 16)(), (ctypes.c_int * tasks)()
    assert library.load().run_team(threads, tasks, ranks, done) == size
    assert list(ranks) == [*range(1, size + 1), *[0] * (16 - size)]
    assert set(done) == {2}
