"""Methods: each file here holds one `Method`, a table of Gaussians and the networks that pose it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from scene import Scene
from scene.frames import Frame
from scene.gaussian_model import Gaussians, GaussianTable
from training.stage import Stage
from utils.errors import InputError

if TYPE_CHECKING:
    from arguments.settings import Settings


class MethodBase(nn.Module):
    """What train.py and render.py may ask of a method."""

    table: GaussianTable
    background: Tensor  # (3,) behind test views and the video
    max_rows: int  # the most Gaussians that training may make
    working_bytes_per_row: int  # memory of a step beside parameters and optimizer, for the estimate

    @classmethod
    def needs(cls, settings: Settings) -> tuple[str, ...]:
        """Fields of `Frame` that must not be None."""
        return ()

    def prepare(self, frame: Frame) -> Frame:
        """The frame as this method wants it seen; the identity unless it refines cameras or codes."""
        return frame

    def forward(self, frame: Frame) -> Gaussians:
        """The table posed for the frame."""
        raise NotImplementedError

    def canonical(self, frame: Frame) -> Gaussians:
        """The table before posing."""
        raise NotImplementedError

    def exported(self) -> Mapping[str, Tensor]:
        """The canonical Gaussians as the columns of `GaussianTable.from_points`, for viewers; the table
        itself unless the method predicts some of them."""
        return self.table.columns

    def stages(self) -> list[Stage]:
        raise NotImplementedError

    def on_step(self, step: int) -> None:
        """Called before step `step` (from 1) of every stage."""

    def load(self, state: dict[str, Tensor]) -> None:
        """Take over a saved state of any number of rows.

        Raises ValueError naming tensors that are missing or unexpected.
        """
        own = self.state_dict()
        missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or unexpected:
            raise ValueError(f"tensors missing: {missing or 'none'}, unexpected: {unexpected or 'none'}")
        self.table.allocate(len(next(v for k, v in state.items() if k.startswith("table."))))
        own = self.state_dict()
        wrong = [f"{k} {tuple(state[k].shape)}, expected {tuple(own[k].shape)}" for k in own if own[k].shape != state[k].shape]
        if wrong:
            raise ValueError(f"tensors of another shape: {'; '.join(wrong)}")
        self.load_state_dict(state)


def make_method(scene: Scene, settings: Settings, device: torch.device) -> MethodBase:
    """Build `scene/methods/<settings.method>.py`'s Method for the scene; check that it gets what it needs."""
    method = import_module(f"scene.methods.{settings.method}").Method
    for need in method.needs(settings):
        if any(getattr(frame, need) is None for frame in scene.train):
            raise InputError(
                f"{settings.model.source_path}: method {settings.method!r} needs Frame.{need}, "
                f"which dataset {settings.dataset!r} does not give; use another dataset or method"
            )
    return method(scene, settings).to(device)
