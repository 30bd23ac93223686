"""NaN and infinity: find the first bad tensor and say its name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from utils.errors import InputError


def first_bad(tensors: Mapping[str, Tensor | None]) -> str | None:
    """Name of the first floating-point tensor that holds NaN or infinity, with the count; else None."""
    for name, value in tensors.items():
        if value is None or not value.is_floating_point():
            continue
        bad = int((~torch.isfinite(value)).sum())
        if bad:
            return f"{name} ({bad} of {value.numel()} numbers)"
    return None


def gradients(module: nn.Module) -> dict[str, Tensor | None]:
    """Gradients of all parameters by name."""
    return {f"{name}.grad": parameter.grad for name, parameter in module.named_parameters()}


def require_finite(tensors: Mapping[str, Tensor | None], what: str) -> None:
    """Raise InputError when one of `tensors` holds NaN or infinity."""
    bad = first_bad(tensors)
    if bad:
        raise InputError(
            f"{what} is not finite: the first bad tensor is {bad}; the last good checkpoint is kept; "
            "lower the learning rates or check the data, then run the same command again"
        )
