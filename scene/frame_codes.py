"""What a method knows of single frames: the code of their expression and pose, and learned rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from scene import Scene
from scene.frames import NO_ROW, Frame
from utils.devices import send
from utils.random import generator


class FrameCodes(nn.Module):
    """Rows learned per moment (`Frame.index`): corrections of what the dataset measured, and latents.

    All rows start at zero. Moments that no training frame shows keep their measured values; their
    latent is the mean over the training moments.
    """

    def __init__(self, scene: Scene, refined: Sequence[str], n_latents: int) -> None:
        """`refined` are fields of `Frame` with a vector each, such as "expression"."""
        super().__init__()
        splits = (scene.train, scene.test, scene.val)
        n_rows = 1 + max(frame.index for split in splits for frame in split)
        first = scene.train[0]
        widths = {name: len(getattr(first, name)) for name in refined}
        if n_latents:
            widths["latent"] = n_latents
        self.refined = tuple(refined)
        self.rows = nn.ParameterDict({k: nn.Parameter(torch.zeros(n_rows, w)) for k, w in widths.items()})
        self.trained = {frame.index for frame in scene.train}
        trained = torch.tensor(sorted(self.trained))
        self.register_buffer("trained_rows", trained, persistent=False)

    def refine(self, frame: Frame) -> Frame:
        """The frame with its corrections added; other moments come back as they are."""
        if frame.index == NO_ROW:
            return frame
        values = {name: getattr(frame, name) + self.rows[name][frame.index] for name in self.refined}
        return replace(frame, **values)

    def latent(self, frame: Frame) -> Tensor | None:
        """(L,) of the frame's moment; None where there are no latents."""
        if "latent" not in self.rows:
            return None
        rows = self.rows["latent"]
        if frame.index in self.trained:
            return rows[frame.index]
        return rows[self.trained_rows].mean(0)

    def size(self, frames: list[Frame]) -> Tensor:
        """Mean square of the rows of these frames: what a penalty keeps small."""
        index = [frame.index for frame in frames]
        return torch.stack([rows[index].square().mean() for rows in self.rows.values()]).sum()


class ConditionCode(nn.Module):
    """A short code of a frame's expression and head pose: one linear layer on standardised inputs.

    4D-Gaussian-Head feeds raw coefficients, whose ranges differ by a factor of ten and more; here each
    is centred and divided by its spread over the training frames. A coefficient that never varies there
    has taught the layer nothing and is left out. Where gradients are taken, noise of spread `noise` is
    added to the standardised inputs, another at each `step`, which `Method.on_step` sets.
    """

    def __init__(
        self, frames: list[Frame], inputs: Sequence[str], width: int, *, noise: float = 0.0, seed: int = 0
    ) -> None:
        """`inputs` are the fields of `Frame` that make up the vector, in this order."""
        super().__init__()
        self.inputs = tuple(inputs)
        self.noise, self.seed, self.step = noise, seed, 0
        table = torch.stack([self._vector(frame) for frame in frames])
        spread = table.std(0, correction=0)
        self.register_buffer("mean", table.mean(0))
        self.register_buffer("low", table.amin(0))
        self.register_buffer("high", table.amax(0))
        self.register_buffer("factor", torch.where(spread > 1e-6, 1 / spread.clamp(min=1e-6), 0))
        self.layer = nn.Linear(table.shape[1], width)
        nn.init.xavier_uniform_(self.layer.weight)

    def forward(self, frame: Frame) -> Tensor:
        """(width,) code of the frame."""
        vector = (self._vector(frame) - self.mean) * self.factor
        if self.noise and torch.is_grad_enabled():
            source = generator(self.seed, "code noise", self.step, frame.index)
            disturbance = torch.randn(self.mean.shape, generator=source)
            vector = vector + send(self.noise * disturbance, self.mean.device)
        return self.layer(vector)

    def _vector(self, frame: Frame) -> Tensor:
        return torch.cat([getattr(frame, name) for name in self.inputs])
