import os
import signal

import pytest

from training.run import StopRequest
from utils.errors import InputError, run_command


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_request_to_stop_waits_for_the_step_and_a_second_one_does_not(number):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(number) is before


def test_a_hangup_that_nohup_ignores_stops_nothing():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, before)


def test_leaving_says_how_to_go_on_with_code_130(capsys):
    with pytest.raises(SystemExit) as stop:
        StopRequest.leave("fine", 7)
    assert stop.value.code == 130
    assert "fine step 7, saved; the same command again goes on" in capsys.readouterr().out


def fail(error):
    def main():
        raise error

    return main


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OutOfMemoryError("CUDA out of memory."),
            "error: CUDA out of memory. Lower --max_gaussians",
        ),
        (InputError("a.png: no\n  such picture"), "error: a.png: no such picture"),
        (
            OSError(28, "No space left on device", "log.jsonl"),
            "error: log.jsonl: No space left on device; check",
        ),
        (PermissionError(13, "Permission denied", "x"), "error: x: Permission denied; check"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_code_2(error, words, capsys):
    with pytest.raises(SystemExit) as stop:
        run_command(fail(error), debug=False)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(words)
    with pytest.raises(type(error)):
        run_command(fail(error), debug=True)


@pytest.mark.parametrize(
    "error", [RuntimeError("ours"), ValueError("ours"), FileNotFoundError(2, "ours")]
)
def test_our_own_mistakes_keep_their_traceback(error):
    with pytest.raises(type(error)):
        run_command(fail(error), debug=False)


def test_ctrl_c_is_code_130(capsys):
    with pytest.raises(SystemExit) as stop:
        run_command(fail(KeyboardInterrupt()), debug=False)
    assert stop.value.code == 130
