"""What a run writes and reads back: resumable checkpoints, models to render from, PLYs for viewers.

Everything is safetensors and JSON by name; a folder is written under a temporary name and renamed, so
whatever stands under its final name is whole.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from scene.methods import MethodBase
from scene.stage import Stage
from utils.errors import InputError
from utils.numerics import require_finite
from utils.optimizers import Optimizers
from utils.ply import write_gaussians

if TYPE_CHECKING:
    from arguments.settings import RunParams

PART = ".part"


@dataclass(frozen=True)
class Saved:
    """A checkpoint folder on disk."""

    folder: Path
    stage: str
    step: int


class Checkpoints:
    """Checkpoints of one run: `<model_path>/checkpoints/<stage>_<step>/`.

    Written every `checkpoint_every` steps; only the newest is kept, besides `checkpoint_iterations`.
    A run goes on from its own newest checkpoint, or from the folder that `start_checkpoint` names.
    """

    def __init__(self, model_path: Path, stages: list[str], options: RunParams) -> None:
        self.model_path, self.stages, self.options = model_path, stages, options
        self.folder = model_path / "checkpoints"
        for leftover in self.folder.glob(f"*{PART}"):
            shutil.rmtree(leftover)
        start = options.start_checkpoint
        self.saved = _read_saved(Path(start)) if start else self._newest()
        if self.saved and self.saved.stage not in stages:
            raise InputError(
                f"{self.saved.folder}: it belongs to stage {self.saved.stage!r}, this method has "
                f"{', '.join(stages)}; choose a checkpoint of this method"
            )

    def due(self, step: int) -> bool:
        return step % self.options.checkpoint_every == 0 or step in self.options.checkpoint_iterations

    def resume(self, stage: Stage, method: MethodBase) -> tuple[int, dict[str, Tensor]]:
        """Steps of `stage` that are done and the optimizer state after them; (0, {}) for a fresh stage."""
        if self.saved is None:
            return 0, {}
        order = self.stages.index(stage.name) - self.stages.index(self.saved.stage)
        if order:
            return (stage.iterations if order < 0 else 0), {}
        load_model(self.saved.folder / "model.safetensors", method)
        moments = read_tensors(self.saved.folder / "optimizers.safetensors")
        stage.strategy.load_state(_under(moments, "strategy."))
        return self.saved.step, _under(moments, "adam.")

    def save(self, stage: Stage, step: int, method: MethodBase, optimizers: Optimizers) -> None:
        """Write everything an exact resume needs, then drop what it replaces.

        Raises InputError when a number is not finite or the disk is full; older checkpoints stay.
        """
        folder = self.folder / f"{stage.name}_{step}"
        if self.saved == Saved(folder, stage.name, step):
            return
        require_finite(method.state_dict(), f"the model after {stage.name} step {step}")
        moments = {
            **{f"adam.{name}": value for name, value in optimizers.state().items()},
            **{f"strategy.{name}": value for name, value in stage.strategy.state().items()},
        }
        with _new_folder(folder) as part:
            save_file(_contiguous(method.state_dict()), part / "model.safetensors")
            save_file(_contiguous(moments), part / "optimizers.safetensors")
            state = {"stage": stage.name, "step": step, "n_gaussians": len(method.table)}
            (part / "state.json").write_text(json.dumps(state, indent=1))
        before, self.saved = self.saved, Saved(folder, stage.name, step)
        replaced = before and before.folder.parent == self.folder and before.folder != folder
        if replaced and before.step not in self.options.checkpoint_iterations:
            shutil.rmtree(before.folder)

    def export(self, stage: Stage, step: int, method: MethodBase) -> Path:
        """Write a model to render from: `point_cloud/iteration_<step>/{model.safetensors,point_cloud.ply}`.

        Stages before the last one put their name in front, as 4DGS does.
        """
        prefix = "" if stage.name == self.stages[-1] else f"{stage.name}_"
        folder = self.model_path / "point_cloud" / f"{prefix}iteration_{step}"
        with _new_folder(folder) as part:
            save_file(_contiguous(method.state_dict()), part / "model.safetensors")
            write_gaussians(part / "point_cloud.ply", method.table.columns)
        return folder

    def _newest(self) -> Saved | None:
        found = [_read_saved(path.parent) for path in self.folder.glob("*/state.json")]
        known = [saved for saved in found if saved.stage in self.stages]
        return max(known, key=lambda s: (self.stages.index(s.stage), s.step), default=None)


def saved_iterations(model_path: Path) -> list[int]:
    """Steps of the last stage that were exported, ascending."""
    folders = (model_path / "point_cloud").glob("iteration_*/model.safetensors")
    numbers = (path.parent.name.removeprefix("iteration_") for path in folders)
    return sorted(int(number) for number in numbers if number.isdigit())


def load_model(file: Path, method: MethodBase) -> None:
    """Fill `method` from a model.safetensors; raises InputError naming what does not fit."""
    try:
        method.load(read_tensors(file))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file}: it does not fit this method and its settings: {error}") from None


def read_tensors(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except FileNotFoundError:
        raise InputError(f"{file}: there is no such file; train first, or name another iteration") from None
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{file}: not a whole safetensors file ({error}); delete its folder and use an older one"
        ) from None


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A folder that appears under its name only when everything in it was written."""
    part = folder.with_name(folder.name + PART)
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        if folder.exists():
            # Renaming onto a folder that is not empty is refused; the old one steps aside first.
            aside = folder.with_name(f"{folder.name}.old{PART}")
            shutil.rmtree(aside, ignore_errors=True)
            os.rename(folder, aside)
            os.rename(part, folder)
            shutil.rmtree(aside)
        else:
            os.rename(part, folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(part, ignore_errors=True)
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        reason = "the disk is full" if full else str(error)
        raise InputError(
            f"{folder}: could not be written: {reason}; make room or choose another -m, then run the "
            "same command again: it goes on from the last checkpoint"
        ) from None


def _read_saved(folder: Path) -> Saved:
    file = folder / "state.json"
    try:
        state = json.loads(file.read_text())
        return Saved(folder, state["stage"], state["step"])
    except FileNotFoundError:
        raise InputError(f"{file}: not found; --start_checkpoint takes a folder checkpoints/<stage>_<step>") from None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{file}: not a checkpoint's state ({error!r}); delete its folder") from None


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().contiguous() for name, value in tensors.items()}
