"""NaN and infinity: find the first bad tensor and say its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from utils.errors import InputError

if TYPE_CHECKING:
    from gaussian_renderer import Render
    from scene.frames import Frame

Named = Mapping[str, Tensor | None]


def first_bad(tensors: Named) -> str | None:
    """Name of the first floating-point tensor that holds NaN or infinity, with the count; else None."""
    for name, value in tensors.items():
        if value is None or not value.is_floating_point():
            continue
        # A sum takes one pass and no memory and hides no bad number; one that overflows is looked into.
        if torch.isfinite(value.detach().sum()):
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
    for k, (frame, view) in enumerate(zip(frames, renders, strict=True)):
        found[f"frames[{k}].image"] = frame.image
        for name in (field.name for field in fields(view.gaussians)):
            value = getattr(view.gaussians, name)
            if isinstance(value, Tensor):
                found[f"gaussians[{k}].{name}"] = value
        found[f"renders[{k}].image"] = view.image
    return found


def require_finite(
    tensors: Named, what: str, causes: Callable[[], Named] = dict
) -> None:
    """Raise InputError when one of `tensors` holds NaN or infinity.

    The message names the first bad one among what `causes` then returns, if any, else among `tensors`.
    """
    bad = first_bad(tensors)
    if bad:
        raise InputError(
            f"{what} is not finite: the first bad tensor is {first_bad(causes()) or bad}; the last good "
            "checkpoint is kept; lower the learning rates and begin anew with --restart, or look for the "
            "cause with --detect_anomaly"
        )
