"""Around a run: its folder, its device, its memory, and an orderly stop."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, NoReturn

import torch

from arguments import differences, load_settings, save_settings
from utils.errors import InputError

if TYPE_CHECKING:
    from arguments.settings import Settings

WRITTEN = (
    "checkpoints", "point_cloud", "sheets", "train", "test", "val", "video", "log.jsonl", "*.html",
    "curves.png", "results*.json", "per_view*.json", "events.out.tfevents.*",
)  # fmt: skip  (patterns of what a run and its commands write; --restart removes it)


def choose_device(name: str) -> torch.device:
    """`auto` is the fastest device that our kernels run on."""
    if name in ("auto", "cpu"):
        return torch.device("cpu")
    raise InputError(f"--device {name}: only 'cpu' is supported so far; leave --device out")


def open_model_folder(settings: Settings) -> Path:
    """Create the run's folder and its config.json; a folder with a run of other settings is refused.

    The same command again goes on where the run in the folder stopped; `--restart` empties it first.
    """
    folder = Path(settings.model.model_path)
    config = folder / "config.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError("permission denied")
        if settings.run.restart:
            _empty(folder)
        if config.is_file() and not settings.run.start_checkpoint:
            other = differences(load_settings(config), settings)
            if other and (folder / "checkpoints").is_dir():
                raise InputError(
                    f"{folder}: it holds a run with other settings ({', '.join(other)}); choose another "
                    "--expname, or --restart to begin anew"
                )
        save_settings(settings, config)
    except OSError as error:
        raise InputError(
            f"{folder}: the output folder cannot be written ({error.strerror or error}); choose another -m"
        ) from None
    return folder


def _empty(folder: Path) -> None:
    for path in (path for pattern in WRITTEN for path in folder.glob(pattern)):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


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
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
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
