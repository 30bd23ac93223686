"""The few calls of the CUDA driver: what card is this, load machine code, launch a kernel."""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import torch

__all__ = ["Card", "Library", "describe", "load"]


class Card(NamedTuple):
    """What compiled code depends on beside its source."""

    name: str
    arch: str  # such as "sm_90"
    driver: str  # the newest CUDA version it runs, such as "13.0"


class Library:
    """Machine code on one device: kernels by name."""

    def __init__(self, code: Any):
        self._code = code  # cuda.core.ObjectCode, which owns the loaded library
        self._handles: dict[str, Any] = {}

    def launch(
        self,
        name: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        shared: int,
        stream: int,
        addresses: Any,
    ) -> None:
        """cuLaunchKernel on `stream`, a CUstream as an integer. The device must be current.

        addresses: ctypes array of pointers to the parameters, which are copied during the call.
        """
        from cuda.bindings import driver

        if name not in self._handles:
            # A CUkernel; the driver takes one where it takes a CUfunction, and picks the context
            # from the stream (CUDA driver API, cuLaunchKernel).
            self._handles[name] = driver.CUfunction(int(self._code.get_kernel(name).handle))
        (error,) = driver.cuLaunchKernel(
            self._handles[name],
            *grid,
            *block,
            shared,
            driver.CUstream(stream),
            ctypes.addressof(addresses),
            0,
        )
        if int(error):
            raise RuntimeError(
                f"cuLaunchKernel({name}, grid {grid}, block {block}, shared {shared}) failed: "
                f"{driver.CUresult(int(error)).name}"
            )


def load(cubin: bytes, device: torch.device) -> Library:
    """Put machine code on the device, in torch's (the primary) context."""
    from cuda.core import ObjectCode

    with torch.cuda.device(device):
        torch.cuda.current_stream(device).synchronize()  # makes the primary context exist
        return Library(ObjectCode.from_cubin(cubin))


def describe(device: torch.device) -> Card:
    """Name, architecture and driver of a CUDA device."""
    from cuda.bindings import driver

    major, minor = torch.cuda.get_device_capability(device)
    error, version = driver.cuDriverGetVersion()
    if int(error):
        raise RuntimeError(f"cuDriverGetVersion failed: {error}")
    return Card(
        name=torch.cuda.get_device_name(device),
        arch=f"sm_{major}{minor}",
        driver=f"{version // 1000}.{version % 1000 // 10}",
    )
