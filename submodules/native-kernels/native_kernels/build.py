"""The whole setup.py of a package with kernels."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import ExecError

from native_kernels.compiler import compile_libraries, find_compiler, variants_here


def setup_kernels(package: str) -> None:
    """setup() for a package of this name: a library `_<variant>.so` of its csrc for each variant.

    Where there is no compiler the package is installed without them, and says so.
    """
    names = [f"{package}._{variant}" for variant in variants_here()]
    setup(
        ext_modules=[Extension(name, sources=[]) for name in names],
        cmdclass={
            "build_py": FreshFiles, "build_ext": BuildLibraries, "bdist_wheel": AnyPythonWheel,
        },
    )  # fmt: skip


class FreshFiles(build_py):
    """Sources that an earlier build copied, and that are gone since, would be installed again."""

    def run(self) -> None:
        for package in self.packages:
            shutil.rmtree(Path(self.build_lib, package), ignore_errors=True)
        super().run()


class BuildLibraries(build_ext):
    """The extensions are plain shared libraries, loaded with ctypes."""

    def get_ext_filename(self, fullname: str) -> str:
        return f"{fullname.replace('.', os.sep)}.so"

    def build_extensions(self) -> None:
        package = self.extensions[0].name.split(".")[0]
        targets = {
            ext.name.rpartition("_")[2]: Path(self.get_ext_fullpath(ext.name))
            for ext in self.extensions
        }
        for old in targets["portable"].parent.glob("*.so"):
            old.unlink()  # never install what older sources left behind
        try:
            compiler = find_compiler()
            if compiler is not None:
                return compile_libraries(compiler, Path(package, "csrc").resolve(), targets)
        except (OSError, subprocess.CalledProcessError) as error:
            raise ExecError(f"the kernels of {package} cannot be compiled: {error}") from error
        print(
            f"warning: {package} is installed without native kernels and will be slow: no C++ "
            "compiler (c++, g++, clang++ or the ziglang wheel) was found",
            file=sys.stderr,
        )

    def get_outputs(self) -> list[str]:
        return [path for path in super().get_outputs() if os.path.exists(path)]


class AnyPythonWheel(bdist_wheel):
    """The libraries need this platform, but do not use Python's C API: any Python 3 will do."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]
