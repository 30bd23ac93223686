"""Calls in a thread of their own: in order, a bounded number of them, errors told."""

import threading

import pytest

from utils.behind import MOST, Behind


def test_calls_run_in_order_in_one_other_thread_and_all_before_the_block_ends():
    seen = []
    with Behind() as later:
        for k in range(50):
            later(lambda k: seen.append((k, threading.current_thread())), k)
    assert [k for k, _ in seen] == list(range(50))
    assert len({thread for _, thread in seen}) == 1
    assert seen[0][1] is not threading.current_thread()


def test_a_caller_that_is_faster_waits():
    go, begun = threading.Event(), []
    with Behind() as later:
        for _ in range(MOST + 1):
            later(go.wait)
        waits = threading.Thread(target=lambda: (later(begun.append, 1), begun.append(2)))
        waits.start()
        waits.join(0.2)
        assert not begun
        go.set()
        waits.join()
    assert sorted(begun) == [1, 2]


def test_an_error_reaches_the_caller_and_what_waits_does_not_run():
    seen, go = [], threading.Event()

    def fail():
        go.wait()
        raise OSError("the disk is full")

    def block():
        with Behind() as later:
            later(fail)
            later(seen.append, 1)
            go.set()
            for _ in range(100):
                later(int)

    with pytest.raises(OSError, match="the disk is full"):
        block()
    assert len(seen) <= 1  # it may have begun


def test_a_block_that_fails_runs_nothing_more():
    seen, go = [], threading.Event()

    def block():
        with Behind() as later:
            later(go.wait)
            later(seen.append, 1)
            threading.Timer(0.2, go.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        block()
    assert not seen
