"""The folder of a run: one process holds it, it lies apart from the data, and nothing is written or
removed there that is not ours."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from arguments import differences, load_settings, save_settings
from utils.errors import InputError
from utils.files import own_folder, read_json, remove_folder, remove_leftovers

if TYPE_CHECKING:
    from arguments.settings import Settings

WRITTEN = (
    "checkpoints/*_*",
    "point_cloud/*iteration_*",
    "sheets/*_*.png",
    "train/ours_*",
    "test/ours_*",
    "test_refined/ours_*",
    "val/ours_*",
    "video/ours_*",
    "path/ours_*",
    "points/ours_*",
    "tracks/ours_*",
    "novel_time/ours_*",
    "flow.safetensors",
    "log.jsonl",
    "report.html",
    "curves.png",
    "results*.json",
    "per_view*.json",
    "events.out.tfevents.*",
)  # fmt: skip  (patterns of what a run and its commands write; --restart removes it)
FOLDERS = sorted({pattern.split("/")[0] for pattern in WRITTEN if "/" in pattern})
OURS = {"dataset", "method", "ModelParams", "RunParams"}  # of what config.json holds


def require_apart(model_path: str | os.PathLike[str], source: str) -> None:
    """InputError where the output folder is, holds or lies in the dataset's folder."""
    out, data = Path(os.path.realpath(model_path)), Path(os.path.realpath(source))
    if out == data or out in data.parents or data in out.parents:
        raise InputError(
            f"{model_path}: this output folder is, holds or lies in the dataset's folder {source}, "
            "where nothing may be written; choose another with -m"
        )


@contextmanager
def open_model_folder(settings: Settings) -> Iterator[Path]:
    """Make the run's folder and hold it: a second run in it is refused until the block ends.

    The same command goes on where the run in the folder stopped; a run of other settings is
    refused, unless `--restart` will empty the folder. So are links in it and a folder that is not
    apart from the dataset. Nothing is written here, and a folder that was made for nothing is
    removed.
    """
    folder = Path(settings.model.model_path)
    if not _is_utf8(folder):
        raise InputError(
            f"{folder}: the name of this output folder is not UTF-8, which safetensors and "
            "TensorBoard need; choose another with -m"
        )
    require_apart(folder, settings.model.source_path)
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
        _refuse_what_is_not_ours(folder, settings)
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
        for path in _written(folder):
            if path.is_dir():
                remove_folder(path)
            else:
                path.unlink()
        for name in FOLDERS:
            with suppress(OSError):
                (folder / name).rmdir()  # refused where there is something of others in it
    remove_leftovers(folder)
    save_settings(settings, folder / "config.json")


def _is_utf8(path: Path) -> bool:
    try:
        return bool(str(path).encode())
    except UnicodeEncodeError:
        return False


def _lock(held: int, folder: Path) -> None:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(
            f"{folder}: another run is writing there; wait for it, or choose another --expname"
        ) from None
    except OSError:
        return  # a file system without locks


def _written(folder: Path) -> list[Path]:
    return [path for pattern in WRITTEN for path in sorted(folder.glob(pattern))]


def _refuse_what_is_not_ours(folder: Path, settings: Settings) -> None:
    for name in FOLDERS:
        own_folder(folder, folder / name)
    found = _written(folder)
    for path in (*found, folder / "log.jsonl"):
        if path.is_symlink():
            raise InputError(
                f"{path}: it is a link, expected what a run wrote; move it away or choose another "
                "-m"
            )
    if settings.run.restart and found and not _is_ours(folder):
        raise InputError(
            f"{folder}: --restart would remove {found[0].relative_to(folder)}, but neither a "
            "config.json nor a checkpoint there says that a run wrote it; choose another -m, or "
            "empty the folder yourself"
        )


def _is_ours(folder: Path) -> bool:
    """Whether a run made the folder; its config.json may be damaged since."""
    with suppress(InputError):
        values = read_json(folder / "config.json")
        return isinstance(values, dict) and values.keys() >= OURS
    return _has_checkpoint(folder)


def _has_checkpoint(folder: Path) -> bool:
    return any((folder / "checkpoints").glob("*_*/state.json"))


def _refuse_another_run(folder: Path, settings: Settings) -> None:
    config, start = folder / "config.json", settings.run.start_checkpoint
    if settings.run.restart:
        if start and folder.resolve() in Path(start).resolve().parents:
            raise InputError(
                f"{start}: --restart would remove it with the run in {folder}; choose another "
                "--expname"
            )
        return
    if not _has_checkpoint(folder):
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
