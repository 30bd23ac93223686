"""What a run writes and reads back: resumable checkpoints, models to render from, PLYs for viewers.

Everything is safetensors and JSON by name; a folder is written under a temporary name and renamed, so
whatever stands under its final name is whole.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from export.ply import write_gaussians
from scene.frames import Frame
from scene.methods import MethodBase
from training.numerics import require_finite
from training.optimizers import Optimizers
from training.stage import Stage
from utils.devices import CPU
from utils.errors import InputError
from utils.files import PART, remove_folder

if TYPE_CHECKING:
    from arguments.settings import RunParams


@dataclass(frozen=True)
class Saved:
    """A checkpoint folder on disk."""

    folder: Path
    stage: str
    step: int
    scene: str  # `fingerprint` of the frames it was trained on
    kept: bool  # for good, as --checkpoint_iterations asked


class Checkpoints:
    """Checkpoints of one run: `<model_path>/checkpoints/<stage>_<step>/`.

    Written every `checkpoint_every` steps; only the newest is kept, besides `checkpoint_iterations`.
    A run goes on from its own newest checkpoint; one that has none yet begins at the folder that
    `start_checkpoint` names.
    """

    def __init__(
        self, model_path: Path, stages: list[str], options: RunParams, scene: str
    ) -> None:
        """`stages` are the names in order, `scene` is the `fingerprint` of the training frames."""
        self.model_path, self.stages, self.options, self.scene = model_path, stages, options, scene
        self.folder = model_path / "checkpoints"
        own = [] if options.restart else self._own()
        self.saved = own[-1] if own else None
        self.outdated = [saved for saved in own if not saved.kept]  # the next save replaces these
        if self.saved and self.saved.scene != scene:
            raise InputError(
                f"{self.saved.folder}: the pictures or times of the scene changed since it was written; "
                "restore them, --restart to begin anew, or go on with what there is now by "
                f"--start_checkpoint {self.saved.folder} and another --expname"
            )
        if self.saved is None and options.start_checkpoint:
            self.saved = _read_saved(Path(options.start_checkpoint))
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
        if self.saved.step > stage.iterations:
            raise InputError(
                f"{self.saved.folder}: it is beyond the {stage.iterations} steps of stage {stage.name!r}; "
                "set more iterations or choose an earlier checkpoint"
            )
        load_model(self.saved.folder / "model.safetensors", method)
        device = next(method.parameters()).device
        moments = read_tensors(self.saved.folder / "optimizers.safetensors", device)
        stage.strategy.load_state(_under(moments, "strategy."))
        return self.saved.step, _under(moments, "adam.")

    def save(self, stage: Stage, step: int, method: MethodBase, optimizers: Optimizers) -> None:
        """Write everything an exact resume needs, then drop what it replaces.

        Raises InputError when a number is not finite or the disk is full; older checkpoints stay.
        """
        folder = self.folder / f"{stage.name}_{step}"
        kept = step in self.options.checkpoint_iterations
        saved = Saved(folder, stage.name, step, self.scene, kept)
        moments = {
            **{f"adam.{name}": value for name, value in optimizers.state().items()},
            **{f"strategy.{name}": value for name, value in stage.strategy.state().items()},
        }
        what = f"after {stage.name} step {step}"
        require_finite(method.state_dict(), f"the model {what}")
        require_finite(moments, f"the optimizer {what}")
        with _new_folder(folder) as part:
            save_file(_contiguous(method.state_dict()), part / "model.safetensors")
            save_file(_contiguous(moments), part / "optimizers.safetensors")
            state = {"stage": stage.name, "step": step, "scene": self.scene, "kept": kept}
            (part / "state.json").write_text(json.dumps(state, indent=1))
        for old in self.outdated:
            if old.folder != folder:
                remove_folder(old.folder)
        self.saved, self.outdated = saved, [] if kept else [saved]

    def export(self, stage: Stage, step: int, method: MethodBase) -> Path:
        """Write a model to render from: `point_cloud/iteration_<step>/{model.safetensors,point_cloud.ply}`.

        Stages before the last one put their name in front, as 4DGS does. Raises as `save` does.
        """
        require_finite(method.state_dict(), f"the model after {stage.name} step {step}")
        folder = self._export_folder(stage, step)
        with _new_folder(folder) as part:
            save_file(_contiguous(method.state_dict()), part / "model.safetensors")
            write_gaussians(part / "point_cloud.ply", method.exported())
        return folder

    def finished(self, last: Stage) -> Path | None:
        """The exported model, where the run has nothing left to do."""
        folder = self._export_folder(last, last.iterations)
        end = self.saved and (self.saved.stage, self.saved.step) == (last.name, last.iterations)
        return folder if end and folder.is_dir() else None

    def _export_folder(self, stage: Stage, step: int) -> Path:
        prefix = "" if stage.name == self.stages[-1] else f"{stage.name}_"
        return self.model_path / "point_cloud" / f"{prefix}iteration_{step}"

    def _own(self) -> list[Saved]:
        """The checkpoints in the run's folder, the newest last."""
        folders = (file.parent for file in self.folder.glob("*/state.json"))
        found = [_read_saved(folder) for folder in folders if folder.suffix != PART]
        known = [saved for saved in found if saved.stage in self.stages]
        return sorted(known, key=lambda s: (self.stages.index(s.stage), s.step))


def fingerprint(frames: list[Frame]) -> str:
    """Changes when frames come or go, or with their times, sizes, or pictures' names or file sizes.

    Poses are left out: they went through arithmetic that another machine may round in another way.
    """
    digest = hashlib.sha256()
    for frame in frames:
        path = frame.image_path
        picture = (path.name, path.stat().st_size) if path else None
        digest.update(repr((frame.time, frame.camera.width, frame.camera.height, picture)).encode())
    return digest.hexdigest()[:16]


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


def read_tensors(file: Path, device: torch.device = CPU) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, on `device`; raises InputError if it is damaged."""
    try:
        return load_file(file, device=str(device))
    except FileNotFoundError:
        raise InputError(f"{file}: there is no such file; train first, or name another iteration") from None
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{file}: not a whole safetensors file ({error}); delete the folder it is in and run the "
            "command of train.py again, which goes on from what is left"
        ) from None


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A folder that appears under its name only when everything in it was written."""
    part = folder.with_name(folder.name + PART)
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        for path in (*part.iterdir(), part):
            _to_disk(path)
        if folder.exists():
            remove_folder(folder)  # renaming onto a folder that is not empty is refused
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
        return Saved(folder, state["stage"], int(state["step"]), state["scene"], state["kept"])
    except OSError as error:
        raise InputError(
            f"{file}: cannot be read ({error.strerror}); a checkpoint is a folder "
            "checkpoints/<stage>_<step> as train.py wrote it"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file}: not a checkpoint's state ({error!r}); delete the folder it is in and run the same "
            "command again, which goes on from what is left"
        ) from None


def _to_disk(path: Path) -> None:
    """Wait until a file or folder is on the disk, so that a name never survives a power cut alone."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().contiguous() for name, value in tensors.items()}
