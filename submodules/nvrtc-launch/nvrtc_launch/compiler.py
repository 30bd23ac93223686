"""NVRTC through cuda-core: CUDA C++ text in, machine code of one architecture out."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import Any

__all__ = ["CompileError", "compile_cubin", "nvrtc_version"]


class CompileError(RuntimeError):
    """NVRTC refused a source; the message is its log, with file names and line numbers."""


def compile_cubin(
    source: Path, include_folders: tuple[Path, ...], arch: str, defines: dict[str, Any]
) -> tuple[bytes, str]:
    """Machine code of `source` for `arch` ("sm_90"), and NVRTC's log: warnings, or nothing.

    No fast-math: division, square root and denormals are IEEE's, as on the CPU. Raises
    CompileError with NVRTC's log, ImportError where cuda-core or NVRTC is not installed.
    """
    nvrtc_version()  # a clear ImportError comes before cuda-core's own
    from cuda.core import Program, ProgramOptions

    options = ProgramOptions(
        name=str(source),  # what NVRTC writes before the line numbers
        arch=arch,
        std="c++17",
        include_path=[str(folder) for folder in include_folders],
        define_macro=[(name, str(value)) for name, value in sorted(defines.items())],
    )
    log = io.StringIO()
    program = Program(source.read_text(), "c++", options)
    try:
        code = bytes(program.compile("cubin", logs=log).code)
    except Exception as error:
        # cuda-core's NVRTCError has no public name; its text holds the log.
        if type(error).__name__ != "NVRTCError":
            raise
        text = str(error).strip("\0\n ")
        raise CompileError(f"{source.name} for {arch} with {defines}: {text}") from error
    finally:
        program.close()
    return code, log.getvalue().strip("\0\n ")


@functools.cache
def nvrtc_version() -> str:
    """Such as "13.0". Raises ImportError where cuda-bindings or the NVRTC library is missing."""
    from cuda.bindings import nvrtc

    try:
        error, major, minor = nvrtc.nvrtcVersion()
    except Exception as missing:  # cuda-pathfinder's own errors, which differ between versions
        raise ImportError(f"the NVRTC library is not installed ({missing})") from missing
    if int(error):
        raise ImportError(f"NVRTC does not tell its version ({error})")
    return f"{major}.{minor}"
