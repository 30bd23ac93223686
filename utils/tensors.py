"""Files of named tensors: safetensors, never a pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from utils.devices import CPU
from utils.files import reading, regular

MAX_HEADER = 2**20  # bytes of names and shapes; a model has some thousand


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write the tensors by name; raises OSError or SafetensorError where that fails."""
    save_file({name: value.detach().contiguous() for name, value in tensors.items()}, file)


def read_tensors(file: Path, device: torch.device = CPU) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, on `device`; raises InputError if it is
    damaged."""
    regular(file, remedy="train first, or name another iteration")
    remedy = "delete the folder it is in and run the command of train.py again, which goes on from "
    with reading(file, "a whole safetensors file", remedy + "what is left"):
        with file.open("rb") as stream:
            if int.from_bytes(stream.read(8), "little") > MAX_HEADER:
                raise ValueError(f"it names more than {MAX_HEADER:,} bytes of tensors")
        return load_file(file, device=str(device))


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name begins with `prefix`, under the rest of it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
