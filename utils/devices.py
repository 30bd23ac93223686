"""Devices: which one a run takes, what holds on it, and how numbers travel there.

The device is chosen once, by a command; everything else follows its inputs.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch
from torch import Tensor

from utils.errors import InputError

CPU = torch.device("cpu")
CARD = Path("/dev/nvidia0")  # there where a driver is, whatever torch was built for


def choose_device(name: str) -> torch.device:
    """The device that `--device NAME` means: auto, cpu, cuda, cuda:1, ...

    auto is the GPU where our kernels run on it, else the CPU; a GPU that is there and not taken is
    one printed sentence. Raises InputError where the device asked for cannot be used.
    """
    if name == "auto":
        return _best_device()
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(
            f"--device {name}: no such device; choose auto, cpu, cuda, cuda:1"
        ) from None
    if device.type == "cpu":
        return CPU
    device = torch.device(device.type, device.index or 0)
    why = _why_not(device)
    if why:
        raise InputError(f"--device {name}: {why}")
    _prepare(device)
    return device


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`. The host does not wait for a GPU that is still busy.

    It would for memory that may be paged out; a pinned copy goes back to torch's own cache of such
    memory when it was read.
    """
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def clock(device: torch.device) -> float:
    """Seconds, read when the device has done what it was given: for spans between two readings."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def describe(device: torch.device) -> str:
    """`cuda:0 (NVIDIA H200)`, or `cpu (2 threads)`."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({torch.get_num_threads()} threads)"


def _best_device() -> torch.device:
    if not (torch.cuda.is_available() or CARD.exists()):
        return CPU
    device = torch.device("cuda", 0)
    why = _why_not(device)
    if why:
        print(f"the GPU is not used: {why}")
        return CPU
    _prepare(device)
    return device


def _why_not(device: torch.device) -> str | None:
    """One sentence where our kernels do not run on the device."""
    import nvrtc_launch  # here: a run on the CPU has no use for it

    return nvrtc_launch.why_not(device)


def _prepare(device: torch.device) -> None:
    """Make the GPU current, and set torch to give the same bits from run to run there.

    TF32 is off in torch's matrix products by default, but on in cuDNN's convolutions, where it
    would leave three digits to LPIPS and SSIM.
    """
    # Read when cuBLAS starts: with it, its results do not depend on what else is running.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.cuda.set_device(device)
