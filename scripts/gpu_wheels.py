"""Packages that a machine without a network lacks: installed from a folder of wheels, or named.

It runs before the environment stands, so it uses nothing but the standard library.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ("requirements.txt", "requirements-gpu.txt")
TESTING = ("pytest", "pytest-timeout")
OWN = "torch"  # the machine's; never installed here
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
    missing = [name for name in needed() if not has(name)]
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
            "fetch them where there is a network, and bring ./wheels here (or name it in GPU_WHEELS):"
        )
        print("  pip download --dest wheels --no-deps --only-binary :all:", platforms, end=" ")
        print("--python-version", python, *missing)
    return missing


def needed() -> Iterator[str]:
    """Names of the packages that must be there, without torch."""
    lines = [
        line
        for file in REQUIREMENTS
        if (ROOT / file).is_file()
        for line in (ROOT / file).read_text().splitlines()
    ]
    for line in (*lines, *TESTING):
        name = plain(re.split(r"[\s=<>!~;\[]", line.partition("#")[0].strip())[0])
        if name not in ("", OWN):
            yield name


def plain(name: str) -> str:
    """A package's name as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def has(name: str) -> bool:
    """Whether a package is installed, in any version that will do."""
    for other in (name, name.removesuffix("-headless")):  # opencv-python serves as well
        try:
            found = version(other)
        except PackageNotFoundError:
            continue
        return name != "setuptools" or int(found.split(".")[0]) >= OLDEST_SETUPTOOLS
    return False
