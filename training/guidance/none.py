"""No guidance: pictures alone teach the model."""

from __future__ import annotations

import torch


def open_guidance(folder: str, device: torch.device, scale: float) -> None:
    """There is nothing to read."""
