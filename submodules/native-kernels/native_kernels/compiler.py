"""The C++ compiler at hand: no torch or Python headers, a few seconds."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from native_kernels.sources import SHARED, VARIANTS, source_hash

# Forward and backward must round alike on every set, so nothing here may relax IEEE arithmetic.
COMMON = [
    *("-std=gnu++17", "-O3", "-fPIC", "-fvisibility=hidden", "-Wno-psabi"),
    *("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"),
]
KERNELS = "kernels.cpp"  # compiled once per variant; every other file once, for any processor


def find_compiler() -> list[str] | None:
    """$CXX, else the first of c++, g++, clang++, else the ziglang wheel's compiler, else None.

    FileNotFoundError where $CXX names none.
    """
    if command := shlex.split(os.environ.get("CXX", "")):
        if shutil.which(command[0]) is None:
            raise FileNotFoundError(
                f"CXX is {os.environ['CXX']!r}, but there is no {command[0]}; name a C++ compiler "
                "or unset CXX"
            )
        return command
    for name in ("c++", "g++", "clang++"):
        if path := shutil.which(name):
            return [path]
    if find_spec("ziglang"):
        # Its default is the building machine's processor; the portable variant must run anywhere.
        return [sys.executable, "-m", "ziglang", "c++", "-mcpu=baseline"]
    return None


def variants_here() -> list[str]:
    """Names of the variants that this machine's compiler can make."""
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return list(VARIANTS) if x86 else ["portable"]


def compile_libraries(compiler: list[str], csrc: Path, targets: dict[str, Path]) -> None:
    """Compile `csrc` in parallel and link a library per variant; each appears whole or not at all.

    targets: variant -> the library's path.
    """
    common = [path for path in sorted(csrc.glob("*.cpp")) if path.name != KERNELS]
    common.append(SHARED / "library.cpp")
    sources = f'-DNATIVE_SOURCES="{source_hash(csrc)}"'
    jobs = {path.stem: [str(path), sources] for path in common}
    jobs |= {name: [str(csrc / KERNELS), *VARIANTS[name]] for name in targets}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = {name: str(Path(folder, f"{name}.o")) for name in jobs}

        def compile_one(name: str) -> None:
            command = [*compiler, *COMMON, f"-I{SHARED}", "-c", *jobs[name], "-o", objects[name]]
            subprocess.run(command, check=True)

        def link(name: str, target: Path) -> None:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".{target.name}.{os.getpid()}")
            parts = [objects[name], *(objects[path.stem] for path in common)]
            command = [*compiler, "-shared", "-pthread", *parts, "-o", str(temporary)]
            subprocess.run(command, check=True)
            os.replace(temporary, target)

        list(pool.map(compile_one, jobs))
        list(pool.map(link, targets, targets.values()))
