"""A model at work: frames in, pictures out, for everything that shows one and trains nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from gaussian_renderer import Painter, Render, pair_budget
from scene.frames import Frame, FrameLoader
from scene.gaussian_model import Gaussians
from utils.devices import clock


class Poses(Protocol):
    """What is asked of a trained model."""

    background: Tensor  # (3,)
    antialiased: bool  # how it was trained
    sees_camera: bool  # whether a pose depends on where the frame's camera stands

    def prepare(self, frame: Frame) -> Frame: ...
    def __call__(self, frame: Frame) -> Gaussians: ...


class Show:
    """Draws frames as a model poses them. A view is valid until the next one of its size."""

    def __init__(
        self,
        model: Poses,
        loader: FrameLoader,
        pose: Callable[[Frame], Gaussians] | None = None,
    ) -> None:
        """`pose` in place of the model's own, such as that of a stage of its training.

        Raises InputError as `pair_budget` does, before anything is drawn.
        """
        pair_budget(loader.device)
        self.model, self.loader, self.pose = model, loader, pose or model
        self.paint = Painter()
        self.seconds: list[tuple[float, float]] = []  # of posing and of drawing, per view

    @torch.no_grad()
    def load(self, frame: Frame) -> Frame:
        """The frame with its picture, if it has one, as the model wants it seen."""
        return self.model.prepare(self.loader.load(frame, self.model.background))

    @torch.no_grad()
    def __call__(self, frame: Frame) -> Render:
        """The view of a loaded frame."""
        device = self.loader.device
        start = clock(device)
        gaussians = self.pose(frame)
        posed = clock(device)
        view = self.paint(
            frame.camera, gaussians, frame.background, antialiased=self.model.antialiased
        )
        self.seconds.append((posed - start, clock(device) - posed))
        return view

    def frames_per_second(self) -> dict[str, float]:
        """Of posing and drawing, and of drawing alone; the first view, which loads kernels,
        apart."""
        steady = self.seconds[1:] or self.seconds
        posing, drawing = (sum(column) for column in zip(*steady, strict=True))
        return {
            "posed_and_drawn_fps": len(steady) / (posing + drawing),
            "drawn_fps": len(steady) / drawing,
        }
