"""Files of named tensors: safetensors, never a pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from utils.devices import CPU
from utils.errors import InputError


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write the tensors by name; raises OSError or SafetensorError where that fails."""
    save_file({name: value.detach().contiguous() for name, value in tensors.items()}, file)


def read_tensors(file: Path, device: torch.device = CPU) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, on `device`; raises InputError if it is
    damaged."""
    try:
        return load_file(file, device=str(device))
    except FileNotFoundError:
        raise InputError(
            f"{file}: there is no such file; train first, or name another iteration"
        ) from None
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{file}: not a whole safetensors file ({error}); delete the folder it is in and run "
            "the command of train.py again, which goes on from what is left"
        ) from None


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name begins with `prefix`, under the rest of it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
