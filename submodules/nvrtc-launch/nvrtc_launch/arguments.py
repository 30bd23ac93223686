"""What a launch gets: checked grid, block and shared memory, and the addresses of its parameters.

The rules are CUDA's own for every card from sm_75 on, and those that turn a mistake into an error
instead of a wrong address: tensors are dense and on the device of the launch.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

__all__ = ["MAX_SHARED", "Size", "check_launch", "pack"]

Size = int | tuple[int, ...]
MAX_THREADS = 1024
MAX_SHARED = 48 * 1024  # bytes that need no opt-in attribute (CUDA C++ programming guide, 20.7)
MAX_GRID = (2**31 - 1, 65535, 65535)


def check_launch(grid: Size, block: Size, shared: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Grid and block with three numbers each; ValueError where no card could run them.

    grid, block: 1 to 3 numbers, in blocks and in threads; shared: bytes of dynamic shared memory.
    """
    blocks, threads = _three(grid, "grid"), _three(block, "block")
    if any(not 0 <= size <= limit for size, limit in zip(blocks, MAX_GRID, strict=True)):
        raise ValueError(f"grid must be within {MAX_GRID}, found {grid}")
    count = threads[0] * threads[1] * threads[2]
    if min(threads) < 1 or threads[2] > 64 or count > MAX_THREADS:
        raise ValueError(f"block must have 1 to {MAX_THREADS} threads (z up to 64), found {block}")
    if not 0 <= shared <= MAX_SHARED:
        raise ValueError(f"shared must be 0 to {MAX_SHARED} bytes, found {shared}")
    return blocks, threads


def pack(arguments: tuple[Any, ...], device: torch.device) -> tuple[Any, list[Any]]:
    """The array of parameter addresses that cuLaunchKernel takes, and the values it points to.

    Keep the values alive until the launch call returns: the driver copies them during it.

    arguments: a Tensor (its data pointer), None (a null pointer), a ctypes number or a
    ctypes.Structure (by value). Raises TypeError for anything else, ValueError for a tensor that
    is not contiguous or lies on another device.
    """
    values = [_value(argument, i, device) for i, argument in enumerate(arguments)]
    addresses = (ctypes.c_void_p * len(values))(*[ctypes.addressof(value) for value in values])
    return addresses, values


def _value(argument: Any, position: int, device: torch.device) -> Any:
    if argument is None:
        return ctypes.c_void_p()
    if isinstance(argument, Tensor):
        if argument.device != device:
            raise ValueError(f"argument {position} must be on {device}, found {argument.device}")
        if not argument.is_contiguous():
            strides = tuple(argument.stride())
            raise ValueError(f"argument {position} must be contiguous, found strides {strides}")
        return ctypes.c_void_p(argument.data_ptr())
    if isinstance(argument, ctypes.Structure | ctypes._SimpleCData):
        return argument
    raise TypeError(
        f"argument {position} must be a Tensor, None, a ctypes number or a ctypes.Structure, "
        f"found {type(argument).__name__}"
    )


def _three(size: Size, name: str) -> tuple[int, ...]:
    numbers = size if isinstance(size, tuple) else (size,)
    if not 1 <= len(numbers) <= 3:
        raise ValueError(f"{name} must have 1 to 3 numbers, found {size}")
    return (*numbers, *(1,) * (3 - len(numbers)))
