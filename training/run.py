"""Around a run: its folder and an orderly stop."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, NoReturn

from arguments import differences, load_settings, save_settings
from gaussian_renderer.show import Show
from scene.facts import SceneFacts, evenly
from scoring.evaluate import evaluate
from utils.errors import InputError
from utils.files import remove_folder, remove_leftovers

if TYPE_CHECKING:
    from arguments.settings import Settings
    from scene import Scene
    from scene.frames import FrameLoader
    from scene.methods import MethodBase
    from training.checkpoint import Checkpoints
    from training.logger import Logger
    from training.stage import Stage

N_TEST_VIEWS = 17  # views per split that are scored while training
WRITTEN = (
    "checkpoints",
    "point_cloud",
    "sheets",
    "train",
    "test",
    "val",
    "video",
    "log.jsonl",
    "*.html",
    "curves.png",
    "results*.json",
    "per_view*.json",
    "events.out.tfevents.*",
)  # fmt: skip  (patterns of what a run and its commands write; --restart removes it)


@dataclass(frozen=True)
class Run:
    """What every stage of one training run shares."""

    settings: Settings
    scene: Scene
    facts: SceneFacts
    method: MethodBase
    loader: FrameLoader
    checkpoints: Checkpoints
    logger: Logger
    stop: StopRequest

    def score(self, stage: Stage, step: int) -> None:
        """Scores and a contact sheet of some train and test views, if the stage draws any."""
        if stage.pose is None:
            return
        show = Show(self.method, self.loader, stage.pose)
        for split in ("train", "test"):
            frames = evenly(self.scene.split(split), N_TEST_VIEWS)
            if frames:
                found = evaluate(show, frames, self.facts.regions)
                self.logger.evaluation(stage.name, step, split, found)


@contextmanager
def open_model_folder(settings: Settings) -> Iterator[Path]:
    """Make the run's folder and hold it: a second run in it is refused until the block ends.

    The same command goes on where the run in the folder stopped; a run of other settings is
    refused, unless `--restart` will empty the folder. Nothing is written here, and a folder that
    was made for nothing is removed.
    """
    folder = Path(settings.model.model_path)
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, "no permission")
        held = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise InputError(
            f"{folder}: the output folder cannot be written ({error.strerror}); choose another "
            "with -m"
        ) from None
    try:
        _lock(held, folder)
        _refuse_another_run(folder, settings)
        yield folder
    finally:
        if is_new:
            with suppress(OSError):
                folder.rmdir()  # refused where there is something in it
        os.close(held)


def begin_run(settings: Settings, folder: Path) -> None:
    """Empty the folder where `--restart` asks for it, and write config.json."""
    if settings.run.restart:
        for path in (path for pattern in WRITTEN for path in folder.glob(pattern)):
            if path.is_dir():
                remove_folder(path)
            else:
                path.unlink()
    remove_leftovers(folder)
    save_settings(settings, folder / "config.json")


def _lock(held: int, folder: Path) -> None:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(
            f"{folder}: another run is writing there; wait for it, or choose another --expname"
        ) from None
    except OSError:
        return  # a file system without locks


def _refuse_another_run(folder: Path, settings: Settings) -> None:
    config, start = folder / "config.json", settings.run.start_checkpoint
    if settings.run.restart:
        if start and folder.resolve() in Path(start).resolve().parents:
            raise InputError(
                f"{start}: --restart would remove it with the run in {folder}; choose another "
                "--expname"
            )
        return
    if not any((folder / "checkpoints").glob("*/state.json")):
        return
    try:
        stored = load_settings(config)
    except InputError as error:
        raise InputError(f"{error}; or --restart to begin the run in this folder anew") from None
    other = differences(stored, settings)
    if other:
        raise InputError(
            f"{folder}: it holds a run with other settings ({', '.join(other)}); choose another "
            "--expname (--start_checkpoint begins there from a checkpoint of this run), or "
            "--restart to begin anew"
        )
    if start not in ("", stored.run.start_checkpoint):
        raise InputError(
            f"{folder}: it holds a run that did not begin at {start}; leave --start_checkpoint out "
            "to go on with it, or choose another --expname"
        )


class StopRequest:
    """Ctrl-C (or SIGTERM) asks for a stop after the current step; a second one stops at once."""

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    @staticmethod
    def leave(stage: str, step: int) -> NoReturn:
        """Exit with code 130 after the checkpoint of `step` was written."""
        print(f"\nstopped at {stage} step {step}, saved; the same command again goes on from there")
        raise SystemExit(130)
