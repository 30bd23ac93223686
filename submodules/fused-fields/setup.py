"""Builds the kernels as one plain shared library: no torch headers, any C++17 compiler.

The library has a C ABI and is loaded with ctypes, so one build serves every Python and torch.
Where no compiler is found the package installs without it and runs on its PyTorch twins.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
IS_X86 = platform.machine().lower() in ("x86_64", "amd64")
COMMON = ["-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-Wno-psabi",
          "-fno-trapping-math", "-ffp-contract=fast"]  # fmt: skip
AVX512 = ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mprefer-vector-width=512"]
# name of the kernel table -> what the compiler may use for it; the choice is made at run time
VARIANTS = {"Portable": []}
if IS_X86:
    VARIANTS["Avx2"] = ["-mavx2", "-mfma"]
    VARIANTS["Avx512"] = ["-mavx2", "-mfma", *AVX512]


def find_compiler() -> list[str] | None:
    """The command of a C++ compiler: $CXX, a usual name, or the one inside the `ziglang` wheel."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and shutil.which(name.split()[0]):
            return name.split()
    if find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "c++"]
    return None


def compile_jobs() -> list[tuple[str, list[str]]]:
    """(source, flags) of every object file."""
    jobs = [("parallel.cpp", []), ("dispatch.cpp", ["-DFF_X86"] if IS_X86 else [])]
    for name, flags in VARIANTS.items():
        table = [f"-DFF_TABLE=k{name}Kernels", f'-DFF_NAME="{name.lower()}"']
        jobs.append(("kernels.cpp", [*flags, *table]))
    return jobs


def build_library(compiler: list[str], library: Path) -> None:
    """Compile and link in a temporary folder; the library appears whole or not at all."""
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:

        def compile_one(job: tuple[int, tuple[str, list[str]]]) -> str:
            number, (source, flags) = job
            target = str(Path(folder, f"{number}.o"))
            subprocess.run([*compiler, *COMMON, *flags, "-c", str(ROOT / "fused_fields" / "csrc" / source),
                            "-o", target], check=True)  # fmt: skip
            return target

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            objects = list(pool.map(compile_one, enumerate(compile_jobs())))
        linked = Path(folder, library.name)
        subprocess.run([*compiler, "-shared", "-pthread", *objects, "-o", str(linked)], check=True)
        os.replace(linked, library)


class BuildLibrary(build_ext):
    def get_ext_filename(self, fullname: str) -> str:
        return os.path.join(*fullname.split(".")[:-1], "libfused_fields.so")

    def build_extension(self, ext: Extension) -> None:
        compiler, library = find_compiler(), Path(self.get_ext_fullpath(ext.name))
        library.unlink(missing_ok=True)  # never install what an older source left behind
        try:
            if compiler is None:
                raise FileNotFoundError("no C++ compiler found (c++, g++, clang++, ziglang)")
            build_library(compiler, library)
        except (OSError, subprocess.CalledProcessError) as error:
            ext.optional = True
            self.warn(f"fused-fields is installed without native kernels and will be slow: {error}")

    def get_outputs(self) -> list[str]:
        return [path for path in super().get_outputs() if os.path.exists(path)]


class AnyPythonWheel(bdist_wheel):
    """The library does not use Python's C API: tag the wheel for every Python 3."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[Extension("fused_fields._kernels", sources=["fused_fields/csrc/kernels.cpp"])],
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": AnyPythonWheel},
)
