"""Kernels in plain C++ behind a C ABI: built with any compiler, one library per instruction set.

`native_kernels.build.setup_kernels` is a package's whole setup.py; `Library` loads what it built.
"""

from native_kernels.compiler import find_compiler
from native_kernels.library import Library
from native_kernels.sources import VARIANTS, source_hash
from native_kernels.structs import members

__all__ = ["VARIANTS", "Library", "find_compiler", "members", "source_hash"]
