"""A loaded program, and the one way to launch what is in it."""

from __future__ import annotations

from typing import Any

import torch

from nvrtc_launch import driver
from nvrtc_launch.arguments import Size, check_launch, pack

__all__ = ["Kernels"]


class Kernels:
    """The kernels of one compiled program on one device; made by Program.kernels."""

    def __init__(self, library: driver.Library, device: torch.device):
        self._library = library
        self._device = device

    def launch(self, name: str, grid: Size, block: Size, *arguments: Any, shared: int = 0) -> None:
        """Start a kernel on torch's current stream of the device, without waiting for it.

        grid, block: 1 to 3 numbers, in blocks and in threads; a grid with a zero starts nothing.
        arguments: in the kernel's order, each a Tensor (its address), None (a null pointer), a
        ctypes number or a ctypes.Structure (by value). shared: bytes of dynamic shared memory.
        Raises ValueError for what no card can run, for a tensor on another device and for one
        that is not contiguous; RuntimeError for what the driver refuses.
        """
        blocks, threads = check_launch(grid, block, shared)
        addresses, values = pack(arguments, self._device)
        if 0 in blocks:
            return
        with torch.cuda.device(self._device):
            stream = torch.cuda.current_stream(self._device).cuda_stream
            self._library.launch(name, blocks, threads, shared, stream, addresses)
        del values  # they had to live until here: the driver copied them during the launch
