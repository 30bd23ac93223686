"""GPU kernels on a machine without a GPU: the same sources, built for the host and run as fibers.

    kernels = emulated(cuda.PROGRAM)  # in the place of functools.partial(PROGRAM.kernels, device)
    cuda.forward(inputs_on_the_cpu, kernels)    # the very host code, the very kernels

What it finds that a GPU might hide: shared memory read before it is written (NaN), a barrier or
warp operation that not all reach (EmulationError), parameters that do not fit the kernel
(TypeError), a missing barrier (`order="backward"` gives another result).

Not emulated: races and the order of memory between blocks; speed; the GPU's own rounding of exp2f,
rsqrtf and the like; loading and launching through the driver (nvrtc_launch tests that against a
fake driver); streams and CUDA graphs; and what no kernel here may use: floating-point atomics,
textures, cooperative groups, tensor cores, inline PTX.

EMULATION_FLAGS adds compiler flags. What is worth a run by hand after a change of kernels:

    EMULATION_FLAGS="-fsanitize=undefined -fno-sanitize-recover" python -m pytest ...
    EMULATION_FLAGS="-fsanitize=address --param=asan-stack=0" ASAN_OPTIONS=detect_leaks=0 \\
        LD_PRELOAD=$(g++ -print-file-name=libasan.so) python -m pytest ...

The second one finds reads and writes outside of a tensor's memory.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from native_kernels import find_compiler
from nvrtc_launch import Program, cache_folder, digest
from nvrtc_launch.arguments import Size, check_launch, pack

__all__ = ["EmulatedKernels", "EmulationError", "emulated"]

HERE = Path(__file__).parent
CPU = torch.device("cpu")
FLAGS = ["-std=c++17", "-O2", "-fPIC", "-shared", "-w"]
BALANCED = r"\((?:[^()]|\([^()]*\))*\)"
KERNEL = re.compile(
    rf'extern\s+"C"\s+__global__\s+(?:__launch_bounds__\s*{BALANCED}\s*)?void\s+'
    rf"(?:__launch_bounds__\s*{BALANCED}\s*)?(\w+)\s*\("
)
DYNAMIC = re.compile(r"extern\s+__shared__\s+([^;\[]*?)\s*\b(\w+)\s*\[\s*\]\s*;")
ALIGNMENT = re.compile(rf"(?:__align__|alignas)\s*{BALANCED}")
KEYWORDS = """
#define __global__
#define __device__
#define __host__
#define __shared__ thread_local
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
"""
TABLE = """
static const emulation::Kernel emulation_kernels[] = {{ {rows} }};
extern "C" const char* emulation_name(unsigned i) {{
  return i < {count} ? emulation_kernels[i].name : nullptr;
}}
extern "C" const char* emulation_signature(unsigned i) {{
  return emulation_kernels[i].signature.c_str();
}}
extern "C" const char* emulation_launch(unsigned i, const unsigned* grid, const unsigned* block,
                                        unsigned shared, int backward, void** parameters) {{
  return emulation::launch(emulation_kernels[i], {{grid[0], grid[1], grid[2]}},
                           {{block[0], block[1], block[2]}}, shared, {dynamic}, backward,
                           parameters);
}}
"""


class EmulationError(RuntimeError):
    """A kernel did what a GPU does not define: divergence, a barrier not reached by all, ..."""


class EmulatedKernels:
    """Stands in for nvrtc_launch.Kernels with CPU tensors; see `emulated`."""

    def __init__(self, library: ctypes.CDLL, order: str):
        self._launch = library.emulation_launch
        self._launch.restype = ctypes.c_char_p
        self._backward = int(order == "backward")
        library.emulation_name.restype = library.emulation_signature.restype = ctypes.c_char_p
        self._numbers: dict[str, int] = {}
        self._signatures: dict[str, list[str]] = {}
        while name := library.emulation_name(len(self._numbers)):
            number = len(self._numbers)
            self._signatures[name.decode()] = library.emulation_signature(number).decode().split()
            self._numbers[name.decode()] = number

    def launch(self, name: str, grid: Size, block: Size, *arguments: Any, shared: int = 0) -> None:
        """As nvrtc_launch.Kernels.launch; returns when the kernel is done."""
        if name not in self._numbers:
            raise KeyError(f"no kernel named {name!r}; there are {sorted(self._numbers)}")
        blocks, threads = check_launch(grid, block, shared)
        addresses, values = pack(arguments, CPU)
        self._check_signature(name, values)
        if 0 in blocks:
            return
        three = ctypes.c_uint * 3
        error = self._launch(
            self._numbers[name], three(*blocks), three(*threads), shared, self._backward, addresses
        )
        if error:
            raise EmulationError(error.decode())

    def _check_signature(self, name: str, values: list[Any]) -> None:
        """A GPU driver copies as many bytes as the kernel declares, whatever lies there."""
        given = [_describe(value) for value in values]
        if given != self._signatures[name]:
            raise TypeError(f"{name} takes {self._signatures[name]}, was given {given}")


def emulated(program: Program, order: str = "forward") -> Callable[..., EmulatedKernels]:
    """The kernels factory of `program` on the host: call it with the defines.

    order: "forward" or "backward", in which the blocks, and the threads of a block between two
    barriers, take their turns. A correct kernel gives the same result in both.
    """
    if order not in ("forward", "backward"):
        raise ValueError(f"order must be 'forward' or 'backward', found {order!r}")

    def kernels(**defines: Any) -> EmulatedKernels:
        return EmulatedKernels(_library(program, tuple(sorted(defines.items()))), order)

    return kernels


@functools.cache
def _library(program: Program, defines: tuple[tuple[str, Any], ...]) -> ctypes.CDLL:
    includes = [f"-I{folder}" for folder in (program.source.parent, program.source.parent.parent)]
    named = [f"-D{name}={value}" for name, value in defines]
    preprocess = ["-E", "-x", "c++", "-std=c++17", "-include", str(HERE / "cuda_emulation.h")]
    source = _compiler([*preprocess, *includes, *named, str(program.source)])
    text = KEYWORDS + source + _tail(source)
    flags = [*FLAGS, *_processor_flags(), *os.environ.get("EMULATION_FLAGS", "").split()]
    path = cache_folder() / "emulation" / f"{digest([text, *flags])}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            unit, library = Path(folder, "kernels.cpp"), Path(folder, "kernels.so")
            unit.write_text(text)
            _compiler([*flags, "-Wl,--no-undefined", str(unit), "-o", str(library)])
            os.replace(library, path)
    return ctypes.CDLL(str(path))


def _tail(source: str) -> str:
    """The table of the kernels, and room for the dynamic shared memory they declare."""
    names = list(dict.fromkeys(KERNEL.findall(source)))
    if not names:
        raise ValueError('found no `extern "C" __global__ void name(` in the source')
    dynamic = {name: kind for kind, name in DYNAMIC.findall(source)}
    if len(dynamic) > 1:
        raise ValueError(f"at most one name for dynamic shared memory, found {sorted(dynamic)}")
    room = "".join(
        f"thread_local {kind} {name}[emulation::kMaxShared / sizeof({ALIGNMENT.sub('', kind)})];\n"
        for name, kind in dynamic.items()
    )
    place = [f"reinterpret_cast<const unsigned char*>({name})" for name in dynamic]
    rows = ", ".join(f'emulation::describe_kernel<{name}>("{name}", {name})' for name in names)
    return room + TABLE.format(rows=rows, count=len(names), dynamic=(place or ["nullptr"])[0])


def _compiler(arguments: list[str]) -> str:
    compiler = find_compiler()
    if compiler is None:
        raise FileNotFoundError("the emulation needs a C++ compiler: c++, g++, clang++ or ziglang")
    command = [*compiler, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-8000:]}")
    return done.stdout


def _processor_flags() -> list[str]:
    """Fused multiply-add as on a GPU, where this processor has it."""
    cpuinfo = Path("/proc/cpuinfo")
    words = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
    wanted = {"avx2", "fma"} if platform.machine() == "x86_64" else set()
    return [f"-m{word}" for word in sorted(wanted)] if wanted <= words else []


def _describe(value: Any) -> str:
    if isinstance(value, ctypes.c_void_p):
        kind = "p"
    elif isinstance(value, ctypes.Structure):
        kind = "s"
    else:
        kind = "f" if isinstance(value, ctypes.c_float | ctypes.c_double) else "i"
    return f"{kind}{ctypes.sizeof(value)}"
