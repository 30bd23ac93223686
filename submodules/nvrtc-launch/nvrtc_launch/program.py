"""One CUDA C++ source, compiled by NVRTC for the GPU at hand and kept in memory and on disk."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import torch

from nvrtc_launch import cache, driver
from nvrtc_launch.compiler import compile_cubin, nvrtc_version
from nvrtc_launch.kernels import Kernels

__all__ = ["Program"]

HEADERS = Path(__file__).parent / "include"


class Program:
    """The kernels of one source file.

    source: a .cu file whose kernels are `extern "C" __global__ void name(...)`. It may include
    files of its own folder, of that folder's parent, and <cstdint>. Nothing is read, compiled or
    imported before the first call of `kernels` or `cubin`.
    """

    def __init__(self, source: Path):
        self.source = Path(source)
        self.include_folders = (self.source.parent, self.source.parent.parent, HEADERS)
        self._loaded: dict[tuple[int, tuple[tuple[str, Any], ...]], Kernels] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Program({str(self.source)!r})"

    def kernels(self, device: torch.device, **defines: Any) -> Kernels:
        """The kernels on a CUDA device, with `#define NAME value` for each of `defines`.

        Compiles at the first call for a GPU (about a second for a large source), loads from the
        disk cache after that, and returns the same object for the same device and defines.
        Raises CompileError with NVRTC's log, ImportError where cuda-core or NVRTC is missing.
        """
        index = torch.cuda.current_device() if device.index is None else device.index
        key = (index, tuple(sorted(defines.items())))
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = self._load(torch.device("cuda", index), defines)
            return self._loaded[key]

    def cubin(self, arch: str, **defines: Any) -> bytes:
        """Machine code for one architecture, such as "sm_90", without any cache or card."""
        return self.cubin_and_log(arch, **defines)[0]

    def cubin_and_log(self, arch: str, **defines: Any) -> tuple[bytes, str]:
        """As `cubin`, with the compiler's warnings."""
        return compile_cubin(self.source, self.include_folders, arch, defines)

    def _load(self, device: torch.device, defines: dict[str, Any]) -> Kernels:
        card = driver.describe(device)
        path = cache.cache_folder() / f"{self._key(card, defines)}.cubin"
        cubin = cache.load(path)
        if cubin is None:
            cubin = self.cubin(card.arch, **defines)
            cache.store(path, cubin)
        return Kernels(driver.load(cubin, device), device)

    def _key(self, card: driver.Card, defines: dict[str, Any]) -> str:
        """Of all that the machine code depends on: the bytes that may be included, too."""
        own = {path for folder in self.include_folders[:2] for path in folder.glob("*.[ch]*")}
        files = sorted(own | set(HEADERS.iterdir()))
        named = [f"{name}={value}" for name, value in sorted(defines.items())]
        contents = [part for path in files for part in (path.name, path.read_bytes())]
        return cache.digest([*contents, self.source.name, *named, nvrtc_version(), *card])
