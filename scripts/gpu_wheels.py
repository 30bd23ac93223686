"""Packages that a machine without a network lacks: installed from a folder of wheels, or named.

It runs before the environment stands, so it uses nothing but the standard library.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ("requirements.txt", "requirements-gpu.txt")
# What these pull in, which installing without a network does not, and what runs the tests.
MORE = ("cuda-pathfinder", "pytest", "pytest-timeout")
OWN = "torch"  # the machine's; never installed here
SERVES_AS_WELL = {
    "opencv-python-headless": "opencv-python",
    "nvidia-cuda-nvrtc": "nvidia-cuda-nvrtc-cu12",  # a torch of CUDA 12 brings it
}
OLDEST_SETUPTOOLS = 77  # that reads our pyproject files
PIP = ("-m", "pip", "install", "--quiet", "--no-index", "--no-deps")
PLATFORMS = (
    "manylinux_2_28",
    "manylinux_2_27",
    "manylinux_2_24",
    "manylinux_2_17",
    "manylinux2014",
)


def install_wheels() -> list[str]:
    """Install what is missing from the folders of wheels; returns what is missing still."""
    specs = needed()
    missing = [name for name in specs if not has(name)]
    folders = [Path(folder) for folder in (os.environ.get("GPU_WHEELS", ""), "wheels") if folder]
    found = [str(path) for folder in folders for path in sorted(folder.glob("*.whl"))]
    wanted = [wheel for wheel in found if plain(Path(wheel).name.split("-")[0]) in missing]
    if wanted:
        subprocess.run([sys.executable, *PIP, *wanted], cwd=ROOT, check=False)
        missing = [name for name in missing if not has(name)]
    if missing:
        platforms = " ".join(f"--platform {name}_x86_64" for name in PLATFORMS)
        python = "{}.{}".format(*sys.version_info[:2])
        print("missing:", *missing)
        print(
            "fetch them where there is a network, and bring ./wheels here (or name it in "
            "GPU_WHEELS;"
        )
        print("for a driver of CUDA 12 take the versions that requirements-gpu.txt names for it):")
        print("  pip download --dest wheels --no-deps --only-binary :all:", platforms, end=" ")
        print("--python-version", python, *(f"'{specs[name]}'" for name in missing))
    return missing


def needed() -> dict[str, str]:
    """Names of the packages that must be there, without torch, and what pip is asked for."""
    files = (ROOT / name for name in REQUIREMENTS)
    lines = [line for file in files for line in file.read_text().splitlines()]
    specs = (line.partition("#")[0].strip() for line in (*lines, *MORE))
    found = {plain(re.split(r"[\s=<>!~;\[]", spec)[0]): spec for spec in specs if spec}
    return {name: spec for name, spec in found.items() if name != OWN}


def plain(name: str) -> str:
    """A package's name as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def has(name: str) -> bool:
    """Whether a package is installed, in any version that will do."""
    for other in (name, SERVES_AS_WELL.get(name, name)):
        try:
            found = version(other)
        except PackageNotFoundError:
            continue
        return name != "setuptools" or int(found.split(".")[0]) >= OLDEST_SETUPTOOLS
    return False
