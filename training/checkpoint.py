"""What a run writes and reads back: resumable checkpoints, models to render from, PLYs for viewers.

Everything is safetensors and JSON by name; a folder is written under a temporary name and renamed,
so whatever stands under its final name is whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from export import ply
from scene.facts import SceneFacts
from training.fingerprint import changes
from training.numerics import require_finite
from training.optimizers import Optimizers
from training.stage import Stage
from utils.errors import InputError
from utils.files import MAX_JSON, PART, new_folder, reading, regular, remove_folder
from utils.tensors import read_tensors, under, write_tensors

if TYPE_CHECKING:
    from arguments.settings import RunParams
    from scene.methods import MethodBase

REMEDY = (
    "make room or choose another -m, then run the same command again: it goes on from the last "
    "checkpoint"
)
DAMAGED = (
    "delete the folder it is in and run the same command again, which goes on from what is left"
)


@dataclass(frozen=True)
class Saved:
    """A checkpoint folder on disk."""

    folder: Path
    stage: str
    step: int
    scene: dict[str, str] | str  # `fingerprint` of the frames it was trained on
    kept: bool  # for good, as --checkpoint_iterations asked
    losses: dict[str, list[str]] | None = None  # terms by stage; None where nobody noted them


class Checkpoints:
    """Checkpoints of one run: `<model_path>/checkpoints/<stage>_<step>/`.

    Written every `checkpoint_every` steps; only the newest is kept, besides
    `checkpoint_iterations`. A run goes on from its own newest checkpoint; one that has none yet
    begins at the folder that `start_checkpoint` names.
    """

    def __init__(
        self,
        model_path: Path,
        stages: list[Stage],
        options: RunParams,
        scene: dict[str, str] | str,
    ) -> None:
        """`stages` in order; `scene` is the `fingerprint` of the training frames."""
        self.model_path, self.options, self.scene = model_path, options, scene
        self.stages = [stage.name for stage in stages]
        self.losses = {stage.name: stage.terms for stage in stages}
        self.folder = model_path / "checkpoints"
        own = [] if options.restart else self._own()
        self.saved = own[-1] if own else None
        self.outdated = [saved for saved in own if not saved.kept]  # the next save replaces these
        changed = changes(self.saved.scene, scene) if self.saved else ""
        if changed:
            raise InputError(
                f"{self.saved.folder}: the {changed} of the scene changed since it was written; "
                "restore them, --restart to begin anew, or go on with what there is now by "
                f"--start_checkpoint {self.saved.folder} and another --expname"
            )
        if self.saved is None and options.start_checkpoint:
            self.saved = _read_saved(Path(options.start_checkpoint))
        if self.saved and self.saved.stage not in self.stages:
            raise InputError(
                f"{self.saved.folder}: it belongs to stage {self.saved.stage!r}, this method has "
                f"{', '.join(self.stages)}; choose a checkpoint of this method"
            )
        if self.saved and self.saved.losses not in (None, self.losses):
            # A term goes where its weights file is not there: that must not happen half-way.
            raise InputError(
                f"{self.saved.folder}: it was trained on the losses {_listed(self.saved.losses)}, "
                f"this run has {_listed(self.losses)}; put the weights files of LPIPS and VGG back "
                "where these differ, go on with the version of this program that wrote it where "
                "others do, or --restart to begin anew"
            )

    def due(self, step: int) -> bool:
        return (
            step % self.options.checkpoint_every == 0 or step in self.options.checkpoint_iterations
        )

    def resume(self, stage: Stage, method: MethodBase) -> tuple[int, dict[str, Tensor]]:
        """Steps of `stage` that are done and the optimizer state after them; (0, {}) for a fresh
        stage."""
        if self.saved is None:
            return 0, {}
        order = self.stages.index(stage.name) - self.stages.index(self.saved.stage)
        if order:
            return (stage.iterations if order < 0 else 0), {}
        if self.saved.step > stage.iterations:
            raise InputError(
                f"{self.saved.folder}: it is beyond the {stage.iterations} steps of stage "
                f"{stage.name!r}; set more iterations or choose an earlier checkpoint"
            )
        method.read(self.saved.folder / "model.safetensors")
        device = next(method.parameters()).device
        moments = read_tensors(self.saved.folder / "optimizers.safetensors", device)
        stage.strategy.load_state(under(moments, "strategy."))
        return self.saved.step, under(moments, "adam.")

    def save(self, stage: Stage, step: int, method: MethodBase, optimizers: Optimizers) -> None:
        """Write everything an exact resume needs, then drop what it replaces.

        Raises InputError when a number is not finite or the disk is full; older checkpoints stay.
        """
        folder = self.folder / f"{stage.name}_{step}"
        kept = step in self.options.checkpoint_iterations
        saved = Saved(folder, stage.name, step, self.scene, kept, self.losses)
        moments = {
            **{f"adam.{name}": value for name, value in optimizers.state().items()},
            **{f"strategy.{name}": value for name, value in stage.strategy.state().items()},
        }
        what = f"after {stage.name} step {step}"
        require_finite(method.state_dict(), f"the model {what}")
        require_finite(moments, f"the optimizer {what}")
        with new_folder(folder, REMEDY) as part:
            write_tensors(part / "model.safetensors", method.state_dict())
            write_tensors(part / "optimizers.safetensors", moments)
            state = {name: getattr(saved, name) for name in STATE}
            (part / "state.json").write_text(json.dumps(state, indent=1))
        for old in self.outdated:
            if old.folder != folder:
                remove_folder(old.folder)
        self.saved, self.outdated = saved, [] if kept else [saved]

    def export(self, stage: Stage, step: int, method: MethodBase, facts: SceneFacts) -> Path:
        """Write a model that stands alone, `point_cloud/iteration_<step>/`: model.safetensors, what
        it knows of its scene, and a PLY for viewers where there are Gaussians.

        Stages before the last one put their name in front, as 4DGS does. Raises as `save` does.
        """
        require_finite(method.state_dict(), f"the model after {stage.name} step {step}")
        folder = self._export_folder(stage, step)
        with new_folder(folder, REMEDY) as part:
            write_tensors(part / "model.safetensors", method.state_alone())
            facts.write(part)
            if len(method.table):
                shown, mode = method.exported(), method.antialiased
                ply.write(part / "point_cloud.ply", [shown], facts, antialiased=mode)
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
        whole = [saved for saved in found if saved.folder.name == f"{saved.stage}_{saved.step}"]
        known = [saved for saved in whole if saved.stage in self.stages]
        return sorted(known, key=lambda s: (self.stages.index(s.stage), s.step))


STATE = ("stage", "step", "scene", "kept", "losses")  # of `Saved`, in state.json


def _listed(losses: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{', '.join(terms)} ({stage})" for stage, terms in losses.items())


def _read_saved(folder: Path) -> Saved:
    file = folder / "state.json"
    regular(file, MAX_JSON, remedy="a checkpoint is a folder checkpoints/<stage>_<step>")
    with reading(file, "a checkpoint's state", DAMAGED):
        state = json.loads(file.read_bytes())
        found = {"losses": None} | {name: state[name] for name in STATE if name in state}
        _listed(found["losses"] or {})
        if not isinstance(found["scene"], str | dict):
            raise TypeError("scene")
        return Saved(folder, **found | {"step": int(state["step"])})
