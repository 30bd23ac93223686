"""What a method knows of single frames: the code of their expression and pose, and learned rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from scene.cameras import Camera
from scene.facts import SceneFacts, Statistics
from scene.frames import NO_ROW, Frame, head_motion, seen_from
from utils.devices import to_device
from utils.random import generator
from utils.rotations import axis_angle_to_matrices

BEYOND = 1.0  # spreads: how far an input may leave what training showed of it
MOTION = ("head_motion",)  # inputs of a code of the head's motion alone
TWIST = 6  # numbers that correct a camera: rotation vector in radians, shift in scene extents


def condition_inputs(hidden: Any) -> tuple[str, ...]:
    """Fields of `Frame` that a method's settings switch on, in the order of 4D-Gaussian-Head."""
    return tuple(name for name in ("flame_pose", "expression") if getattr(hidden, f"{name}_input"))


class FrameCodes(nn.Module):
    """Rows learned per moment (`Frame.index`): corrections of what the dataset measured, and
    latents.

    All rows start at zero. Moments that no training frame shows keep their measured values; their
    latent is the mean over the training moments.
    """

    def __init__(self, facts: SceneFacts, refined: Sequence[str], n_latents: int) -> None:
        """`refined` are fields of `Frame` with a vector each, such as "expression", or "camera"."""
        super().__init__()
        widths = {k: TWIST if k == "camera" else len(facts.conditions[k].mean) for k in refined}
        if n_latents:
            widths["latent"] = n_latents
        self.refined, self.extent = tuple(refined), facts.extent
        rows = {name: torch.zeros(facts.n_moments, width) for name, width in widths.items()}
        self.rows = nn.ParameterDict({name: nn.Parameter(value) for name, value in rows.items()})
        self.trained = set(facts.trained.tolist())
        self.register_buffer("trained_rows", facts.trained, persistent=False)

    def refine(self, frame: Frame) -> Frame:
        """The frame with its corrections added; other moments come back as they are."""
        if frame.index == NO_ROW:
            return frame
        rows = {name: self.rows[name][frame.index] for name in self.refined}
        if "camera" in rows:
            frame = seen_from(frame, self._moved(frame.camera, rows.pop("camera")))
        return replace(frame, **{k: getattr(frame, k) + row for k, row in rows.items()})

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

    def _moved(self, camera: Camera, twist: Tensor) -> Camera:
        """The camera turned about itself, then shifted, in its own axes."""
        turn = torch.cat([axis_angle_to_matrices(twist[:3]), self.extent * twist[3:, None]], dim=1)
        last = camera.viewmat[3:]  # 0 0 0 1, and on the right device
        return replace(camera, viewmat=torch.cat([turn, last]) @ camera.viewmat)


class ConditionCode(nn.Module):
    """A short code of a frame's expression and head pose: one linear layer on standardised inputs.

    4D-Gaussian-Head feeds raw coefficients, whose ranges differ by a factor of ten and more; here
    each is centred and divided by its spread over the training frames. A coefficient that never
    varies there has taught the layer nothing and is left out. One that leaves what training showed
    of it is held `BEYOND` its end: one that hardly varied there would tear the picture apart. Where
    gradients are taken, noise of spread `noise` is added to the standardised inputs, another at
    each step.

    Beside fields of `Frame` an input may be "head_motion": the six numbers by which the head moved
    against a body at rest, in frames that say where that is.
    """

    def __init__(
        self,
        facts: SceneFacts,
        inputs: Sequence[str],
        width: int,
        *,
        noise: float = 0.0,
        seed: int = 0,
    ) -> None:
        """`inputs` are what makes up the vector, in this order."""
        super().__init__()
        self.inputs, self.noise, self.seed = tuple(inputs), noise, seed
        found = [_over_training(facts, name) for name in inputs]
        spread = torch.cat([statistics.spread for statistics in found])
        self.register_buffer("mean", torch.cat([statistics.mean for statistics in found]))
        self.register_buffer("factor", torch.where(spread > 1e-6, 1 / spread.clamp(min=1e-6), 0))
        ends = [_ends(statistics) for statistics in found]
        for name, values in zip(("low", "high"), zip(*ends, strict=True), strict=True):
            self.register_buffer(name, torch.cat(values), persistent=False)
        self.layer = nn.Linear(len(spread), width)
        nn.init.xavier_uniform_(self.layer.weight)

    def forward(self, frame: Frame, step: int = 0) -> Tensor:
        """(width,) code of the frame; `step` chooses the noise."""
        vector = torch.cat([_told(frame, name) for name in self.inputs])
        vector = vector.clamp(self.low, self.high)
        vector = (vector - self.mean) * self.factor
        if self.noise and torch.is_grad_enabled():
            place = "code noise" if self.inputs != MOTION else "motion noise"
            source = generator(self.seed, place, step, frame.index)
            disturbance = torch.randn(self.mean.shape, generator=source)
            vector = vector + to_device(self.noise * disturbance, self.mean.device)
        return self.layer(vector)


def _over_training(facts: SceneFacts, name: str) -> Statistics:
    return facts.head_motion if name == "head_motion" else facts.conditions[name]


def _told(frame: Frame, name: str) -> Tensor:
    """(E,) what the frame says of an input."""
    return head_motion(frame.body_to_world) if name == "head_motion" else getattr(frame, name)


def _ends(found: Statistics) -> tuple[Tensor, Tensor]:
    """(E,) lowest and highest values that count; none where an older version wrote no ends."""
    if found.least is None:
        return torch.full_like(found.mean, -torch.inf), torch.full_like(found.mean, torch.inf)
    return found.least - BEYOND * found.spread, found.most + BEYOND * found.spread
