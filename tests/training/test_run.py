import os
import signal
from dataclasses import replace

import pytest

from arguments import load_settings, parse_train_args
from training.run import StopRequest, begin_run, open_model_folder
from utils.errors import InputError, run_command


@pytest.fixture
def settings(tmp_path):
    return parse_train_args(["-s", "data/none", "-m", str(tmp_path / "out")])


def with_checkpoint(settings):
    """As a run leaves its folder."""
    with open_model_folder(settings) as folder:
        begin_run(settings, folder)
        (folder / "checkpoints" / "coarse_5").mkdir(parents=True)
        (folder / "checkpoints" / "coarse_5" / "state.json").write_text("{}")
    return folder


def test_a_folder_made_for_nothing_is_removed_and_others_stay(settings, tmp_path):
    with open_model_folder(settings) as folder:
        assert folder.is_dir()
    assert not folder.exists()
    folder.mkdir()
    with open_model_folder(settings):
        pass
    assert folder.is_dir()


def test_the_folder_is_held_until_the_block_ends(settings):
    with open_model_folder(settings) as folder:
        with (
            pytest.raises(InputError, match="another run is writing there"),
            open_model_folder(settings),
        ):
            pass
        assert folder.is_dir()
    with open_model_folder(settings):
        pass


def test_the_settings_are_written_and_the_same_command_goes_on(settings):
    folder = with_checkpoint(settings)
    assert load_settings(folder / "config.json") == settings
    with open_model_folder(replace(settings, run=replace(settings.run, port=1, quiet=True))):
        pass


def test_other_settings_are_refused_only_where_there_is_a_checkpoint(settings):
    other = replace(settings, run=replace(settings.run, seed=3))
    with open_model_folder(settings) as folder:
        begin_run(settings, folder)
    with open_model_folder(other):
        pass
    with_checkpoint(settings)
    with pytest.raises(InputError, match=r"other settings \(seed\)"), open_model_folder(other):
        pass


def test_restart_removes_what_a_run_wrote_and_nothing_else(settings):
    folder = with_checkpoint(settings)
    (folder / "notes.txt").write_text("mine")
    (folder / "log.jsonl").write_text("")
    begin_run(replace(settings, run=replace(settings.run, restart=True)), folder)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "notes.txt"]


def test_a_request_to_stop_waits_for_the_step_and_a_second_one_does_not():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


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
