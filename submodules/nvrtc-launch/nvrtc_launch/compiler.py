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
) -> bytes:
    """Machine code of `source` for `arch` ("sm_90"); CompileError with NVRTC's log.

    No fast-math: division, square root and denormals are IEEE's, so that results are close to the
    CPU's. A warning is an error, since nobody would read it at run time.
    """
    from cuda.core import Program, ProgramOptions

    options = ProgramOptions(
        name=str(source),
        arch=arch,
        std="c++17",
        include_path=[str(folder) for folder in include_folders],
        define_macro=[(name, str(value)) for name, value in sorted(defines.items())],
    )
    log = io.StringIO()
    try:
        program = Program(source.read_text(), "c++", options)
        code = bytes(program.compile("cubin", logs=log).code)
    except Exception as error:
        if "NVRTC" not in type(error).__name__:
            raise
        raise CompileError(f"{source.name} for {arch}, {defines}: {error}") from error
    if "warning" in log.getvalue():
        raise CompileError(f"{source.name} for {arch}, {defines}: {log.getvalue()}")
    return code


@functools.cache
def nvrtc_version() -> str:
    """Such as "13.5". Raises ImportError where cuda-bindings or the NVRTC library is missing."""
    from cuda.bindings import nvrtc

    try:
        error, major, minor = nvrtc.nvrtcVersion()
    except RuntimeError as missing:  # cuda-pathfinder: the library itself is not installed
        raise ImportError(f"the NVRTC library is not installed: {missing}") from missing
    if int(error):
        raise ImportError(f"NVRTC does not tell its version: {error}")
    return f"{major}.{minor}"
