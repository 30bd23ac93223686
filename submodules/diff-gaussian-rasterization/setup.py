"""Builds the native library with any GCC or Clang: no torch or Python headers, a few seconds."""

import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools < 70.1
    from wheel.bdist_wheel import bdist_wheel

CSRC = Path(__file__).resolve().parent / "diff_gaussian_rasterization" / "csrc"
LIBRARY = "_native.so"
# Forward and backward must round alike on every set, so nothing here may relax IEEE arithmetic.
COMMON = [
    "-std=gnu++17",
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-math-errno",
    "-ffp-contract=fast",
]
SETS = {
    "portable": [],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma"],
}


def find_compiler() -> list[str] | None:
    """$CXX, else the first of c++, g++, clang++, else the ziglang wheel's compiler, else None."""
    if os.environ.get("CXX"):
        return shlex.split(os.environ["CXX"])
    for name in ("c++", "g++", "clang++"):
        if path := shutil.which(name):
            return [path]
    if importlib.util.find_spec("ziglang"):
        # Its default is the building machine's processor; the portable variant must run anywhere.
        return [sys.executable, "-m", "ziglang", "c++", "-mcpu=baseline"]
    return None


def source_hash() -> str:
    """SHA-256 over names and bytes of csrc; the package recomputes it to notice a stale library."""
    digest = hashlib.sha256()
    for path in sorted(CSRC.glob("*.[ch]*")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def compile_library(compiler: list[str], target: Path) -> None:
    """Compile all variants in parallel, link, and move the result into place in one step."""
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    with tempfile.TemporaryDirectory() as folder:
        border = [f'-DDGR_SOURCES="{source_hash()}"', *(["-DDGR_X86"] if x86 else [])]
        jobs = [("rasterizer.cpp", border, "rasterizer.o")]
        for name, flags in SETS.items():
            if x86 or name == "portable":
                jobs.append(
                    (
                        "kernels.cpp",
                        [f"-DDGR_NAMESPACE=dgr_{name}", "-Wno-psabi", *flags],
                        f"{name}.o",
                    )
                )

        def run(job: tuple[str, list[str], str]) -> str:
            source, flags, output = job
            path = str(Path(folder) / output)
            subprocess.run(
                [*compiler, *COMMON, *flags, "-c", str(CSRC / source), "-o", path], check=True
            )
            return path

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(run, jobs))
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        subprocess.run(
            [*compiler, "-shared", *objects, "-pthread", "-o", str(temporary)], check=True
        )
        os.replace(temporary, target)


class BuildNative(build_ext):
    """The one extension is a plain shared library, loaded with ctypes."""

    def get_ext_filename(self, fullname: str) -> str:
        return str(Path(*fullname.split(".")[:-1]) / LIBRARY)

    def build_extension(self, ext: Extension) -> None:
        compiler = find_compiler()
        if compiler is None:
            print(
                "warning: no C++ compiler (c++, g++, clang++ or the ziglang wheel) was found; "
                "installing without native code, which is correct but slow",
                file=sys.stderr,
            )
            return
        compile_library(compiler, Path(self.get_ext_fullpath(ext.name)))


class PlatformWheel(bdist_wheel):
    """The library needs this platform, but no particular Python."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[Extension("diff_gaussian_rasterization._native", sources=[], optional=True)],
    cmdclass={"build_ext": BuildNative, "bdist_wheel": PlatformWheel},
)
