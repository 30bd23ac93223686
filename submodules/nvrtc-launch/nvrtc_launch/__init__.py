"""Compiles CUDA kernels at first use with NVRTC and launches them on PyTorch tensors.

No CUDA toolkit, no host compiler: the `cuda-core`, `cuda-bindings` and NVRTC wheels are enough.
"""

from nvrtc_launch.cache import cache_folder, digest
from nvrtc_launch.compiler import CompileError
from nvrtc_launch.kernels import Kernels
from nvrtc_launch.probe import why_not
from nvrtc_launch.program import Program

__all__ = ["CompileError", "Kernels", "Program", "cache_folder", "digest", "why_not"]
