"""NaN and infinity: find the first bad tensor and say its name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from utils.errors import InputError

if TYPE_CHECKING:
    from gaussian_renderer import Render
    from scene.frames import Frame

Named = Mapping[str, Tensor | None]
CHECK_EVERY = 10  # steps between looks for NaN in the model, which a finite loss may hide
# The same for the loss: a look at it waits for a GPU, which is then idle until the next kernel.
CHECK_LOSS_EVERY = {"cpu": 1, "cuda": CHECK_EVERY}


@dataclass(frozen=True)
class Watch:
    """Looks at the numbers of a stage's steps; InputError at the first that is not finite."""

    method: nn.Module
    stage: str
    device: torch.device
    debug_from: int  # gradients are looked at after this step; never where it is negative

    def losses(self, step: int, losses: Named, frames: list[Frame], renders: list[Render]) -> None:
        if step % CHECK_LOSS_EVERY[self.device.type] == 0:
            causes = partial(from_model_to_picture, self.method, frames, renders)
            require_finite(losses, f"the loss at {self.stage} step {step}", causes)

    def gradients(self, step: int) -> None:
        if 0 <= self.debug_from < step:
            require_finite(gradients(self.method), f"the gradient at {self.stage} step {step}")

    def model(self, step: int) -> None:
        if step % CHECK_EVERY == 0:
            require_finite(parameters(self.method), f"the model after {self.stage} step {step}")


def first_bad(tensors: Named) -> str | None:
    """Name of the first floating-point tensor that holds NaN or infinity, with the count; else
    None."""
    for name, value in tensors.items():
        if value is None or not value.is_floating_point():
            continue
        # A sum takes one pass and no memory and hides no bad number; one that overflows is looked
        # into.
        if math.isfinite(value.detach().sum()):
            continue
        bad = int((~torch.isfinite(value)).sum())
        if bad:
            return f"{name} ({bad} of {value.numel()} numbers)"
    return None


def parameters(module: nn.Module) -> dict[str, Tensor | None]:
    """All parameters by name."""
    return dict(module.named_parameters())


def gradients(module: nn.Module) -> dict[str, Tensor | None]:
    """Gradients of all parameters by name."""
    return {f"{name}.grad": parameter.grad for name, parameter in module.named_parameters()}


def from_model_to_picture(
    module: nn.Module, frames: list[Frame], renders: list[Render]
) -> dict[str, Tensor | None]:
    """All that a loss comes from, in the order of the computation."""
    found = parameters(module)
    for k, (frame, view) in enumerate(zip(frames, renders, strict=False)):
        found[f"frames[{k}].image"] = frame.image
        found |= {f"gaussians[{k}].{n}": value for n, value in view.gaussians.tensors().items()}
        found[f"renders[{k}].image"] = view.image
    return found


def require_finite(tensors: Named, what: str, causes: Callable[[], Named] = dict) -> None:
    """Raise InputError when one of `tensors` holds NaN or infinity.

    The message names the first bad one among what `causes` then returns, if any, else among
    `tensors`.
    """
    bad = first_bad(tensors)
    if bad:
        raise InputError(
            f"{what} is not finite: the first bad tensor is {first_bad(causes()) or bad}; the last "
            "good checkpoint is kept; lower the learning rates and begin anew with --restart, or "
            "look for the cause with --detect_anomaly"
        )
