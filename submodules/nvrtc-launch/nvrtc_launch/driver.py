"""The few calls of the CUDA driver: what card is this, load machine code, launch a kernel."""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import torch

__all__ = ["Card", "Library", "describe", "load"]


class Card(NamedTuple):
    """What machine code depends on beside its source."""

    name: str
    arch: str  # such as "sm_90"
    driver: str  # the newest CUDA version the driver runs, such as "13.0"


class Library:
    """Machine code on one device: kernels by name.

    api: the module cuda.bindings.driver. code: a cuda.core.ObjectCode, which owns what is loaded.
    context: the device's primary CUcontext, torch's own.
    """

    def __init__(self, api: Any, code: Any, context: Any):
        self._api = api
        self._code = code
        self._context = context
        self._functions: dict[str, Any] = {}

    def launch(
        self,
        name: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        shared: int,
        stream: int,
        addresses: Any,
    ) -> None:
        """cuLaunchKernel on `stream`, a CUstream as an integer; torch's device must be current.

        addresses: a ctypes array of pointers to the parameters, which are copied during the call.
        """
        api = self._api
        # A thread that has made no call of the CUDA runtime yet, such as one of autograd's, has no
        # context, and the driver's functions do not bind one by themselves.
        if int(_checked(api.cuCtxGetCurrent())) != int(self._context):
            _checked(api.cuCtxSetCurrent(self._context))
        if name not in self._functions:
            # The handle is a CUkernel, which the driver takes in place of a CUfunction (CUDA driver
            # API, cuLaunchKernel).
            self._functions[name] = api.CUfunction(int(self._code.get_kernel(name).handle))
        result = api.cuLaunchKernel(
            self._functions[name],
            *grid,
            *block,
            shared,
            api.CUstream(stream),
            ctypes.addressof(addresses),
            0,
        )
        _checked(result, f"{name}, grid {grid}, block {block}, {shared} bytes of shared memory")


def load(cubin: bytes, device: torch.device) -> Library:
    """Put machine code on the device, in its primary context."""
    from cuda.bindings import driver as api
    from cuda.core import ObjectCode

    with torch.cuda.device(device):
        torch.zeros(1, device=device)  # torch creates the context
        context = _checked(api.cuDevicePrimaryCtxRetain(_checked(api.cuDeviceGet(device.index))))
        _checked(api.cuCtxSetCurrent(context))
        return Library(api, ObjectCode.from_cubin(cubin), context)


def describe(device: torch.device) -> Card:
    """Name, architecture and driver of a CUDA device."""
    from cuda.bindings import driver as api

    version = _checked(api.cuDriverGetVersion())
    major, minor = torch.cuda.get_device_capability(device)
    return Card(
        name=torch.cuda.get_device_name(device),
        arch=f"sm_{major}{minor}",
        driver=f"{version // 1000}.{version % 1000 // 10}",
    )


def _checked(result: tuple[Any, ...], what: str = "") -> Any:
    """The value of a driver call, which returns (error, value) or (error,)."""
    error = result[0]
    if int(error):
        raise RuntimeError(f"the CUDA driver says {getattr(error, 'name', error)} ({what})")
    return result[1] if len(result) > 1 else None
