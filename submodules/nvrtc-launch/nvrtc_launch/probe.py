"""Can kernels run on this device, and if not, what should the user do about it?"""

from __future__ import annotations

import functools
import platform
from ctypes import c_int32
from importlib.util import find_spec
from pathlib import Path

import torch

from nvrtc_launch import driver
from nvrtc_launch.compiler import nvrtc_version
from nvrtc_launch.program import Program

__all__ = ["why_not"]

WHEELS = "pip install -r requirements-gpu.txt"
OLDEST = (7, 5)  # Turing: the oldest architecture that NVRTC 13 compiles for
PROBE = Program(Path(__file__).parent / "csrc" / "probe.cu")


def why_not(device: torch.device) -> str | None:
    """None when kernels compile and run on `device`, else one sentence that says what to do.

    Asks once per device and process: it compiles (or finds in the cache) a kernel of one line,
    runs it and reads its result.
    """
    if device.type != "cuda":
        return f"kernels run on CUDA devices, not on {device}"
    if torch.version.cuda is None:
        return (
            f"this torch ({torch.__version__}) is built without CUDA; install the CUDA build "
            "(pip install torch brings it on Linux)"
        )
    if not torch.cuda.is_available():
        return "torch finds no NVIDIA driver or no card; check that nvidia-smi lists one"
    return _why_not(torch.cuda.current_device() if device.index is None else device.index)


@functools.cache
def _why_not(index: int) -> str | None:
    if index >= torch.cuda.device_count():
        return f"there is no cuda:{index}; torch sees {torch.cuda.device_count()} card(s)"
    device = torch.device("cuda", index)
    card, capability = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
    if capability < OLDEST:
        return (
            f"{card} has compute capability {capability[0]}.{capability[1]}; "
            f"the kernels need {OLDEST[0]}.{OLDEST[1]} (Turing) or newer"
        )
    return _why_no_compiler(device) or _why_not_run(device)


def _why_no_compiler(device: torch.device) -> str | None:
    for module, package in (("cuda.bindings", "cuda-bindings"), ("cuda.core", "cuda-core")):
        if not _installed(module):
            return f"the package {package} is not installed; {WHEELS}"
    try:
        version = nvrtc_version()
    except ImportError as error:
        return f"{error}; {WHEELS}"
    newest = driver.describe(device).driver
    if _major(newest) < _major(version):
        return (
            f"the NVIDIA driver runs CUDA {newest} and NVRTC is of CUDA {version}; update the "
            f"driver to one for CUDA {_major(version)}, or install the wheels that "
            f"requirements-gpu.txt names for CUDA {_major(newest)}"
        )
    return None


def _why_not_run(device: torch.device) -> str | None:
    """Any failure at all is an answer here: the caller then takes the path without kernels."""
    answer = torch.zeros(1, dtype=torch.int32, device=device)
    try:
        PROBE.kernels(device).launch("answer", 1, 32, answer, c_int32(42))
        found = int(answer)
    except Exception as error:
        return f"a kernel of one line fails on {device} ({platform.system()}): {_one_line(error)}"
    return None if found == 42 else f"a kernel of one line gives {found} on {device}, not 42"


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package `cuda` that should contain it is absent
        return False


def _major(version: str) -> int:
    return int(version.split(".")[0])


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"
