"""The parts of scripts/gpu_check.sh, each with its own time limit; a part that fails stops no other.

Writes <out>/gpu_check.json after every part, and a log per part beside it. Exit code 0: every part
passed. 1: one failed. 2: none failed, but some were skipped, as on a machine without a GPU. It runs
before the environment stands, so it uses nothing but the standard library.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 570  # seconds, of everything
REQUIREMENTS = ("requirements.txt", "requirements-gpu.txt")
TESTING = ("pytest", "pytest-timeout")
OWN = "torch"  # the machine's; never installed here
OLDEST_SETUPTOOLS = 77  # that reads our pyproject files
PIP = ("-m", "pip", "install", "--quiet", "--no-index", "--no-deps")
CONFIG = "arguments/dnerf/default.py"
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux_2_17", "manylinux2014")

ASK_MACHINE = """
import json, torch
from utils.devices import choose_device, describe
found = {"torch": torch.__version__, "cuda": torch.version.cuda, "why_not": None}
try:
    found["device"] = describe(choose_device("cuda"))
except Exception as error:
    found["why_not"] = str(error)
print(json.dumps(found))
"""


@dataclass
class Part:
    """One line of the table: commands for the environment's Python, ended by the first that fails."""

    name: str
    limit: float  # seconds
    commands: list[list[str]]
    needs_gpu: bool = True
    state: str = "skipped"  # passed, failed, stopped (at its limit), skipped
    seconds: float = 0.0
    said: str = ""  # the last line of output, or why it was skipped
    results: dict[str, object] = field(default_factory=dict)  # of the JSON files that it wrote


def main() -> int:
    args = parse()
    deadline = time.monotonic() + LIMIT
    args.out.mkdir(parents=True, exist_ok=True)
    missing = install_wheels()
    parts = [part for part in all_parts(args.out, args.data) if part.name in (args.only or [part.name])]
    report: dict[str, object] = {"missing": missing, "parts": parts}
    for part in parts:
        if part.needs_gpu and "machine" not in report:
            report["machine"] = ask_machine()
        run_part(part, report, deadline, args.out)
        print(f"{part.name:<12}{part.state:<9}{part.seconds:6.1f} s  {part.said}", flush=True)
        text = json.dumps(report, indent=1, default=asdict)
        (args.out / "gpu_check.json").write_text(text + "\n")
    print(f"everything: {args.out / 'gpu_check.json'}; logs beside it")
    states = {part.state for part in parts}
    return 1 if states & {"failed", "stopped"} else 2 if "skipped" in states else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="D-NeRF scene to train on; the demo scene if none")
    parser.add_argument("--out", type=Path, default=Path("output/gpu_check"))
    names = [part.name for part in all_parts(Path(), None)]
    parser.add_argument("--only", nargs="+", choices=names, help="run these parts alone")
    return parser.parse_args()


def all_parts(out: Path, data: Path | None) -> list[Part]:
    install = [*PIP, "--no-build-isolation", "--force-reinstall"]
    packages = [f"./{path.parent.relative_to(ROOT)}" for path in sorted(ROOT.glob("submodules/*/pyproject.toml"))]
    pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider"]
    whole = ["tests/test_train.py", "tests/test_gaussian_renderer.py", "tests/utils/test_devices.py"]
    return [
        Part("packages", 120, [[*install, *packages]], needs_gpu=False),
        # On a GPU `--device auto` takes it: the runs of test_train.py, resumed byte for byte, are GPU runs.
        Part("whole", 100, [[*pytest, *whole]]),
        Part("kernels", 150, [[*pytest, "tests/submodules", "-k", "cuda or gpu"]]),
        Part("benchmarks", 150, [["scripts/bench_gpu.py", "--device", "cuda", "--json", f"{out}/bench_gpu.json"]]),
        Part("training", 150, training(out, data)),
    ]  # fmt: skip


def training(out: Path, data: Path | None) -> list[list[str]]:
    """Train shortly, render the test views, score them."""
    model, scene, first = str(out / "model"), data, []
    if scene is None:
        scene = out / "demo"
        first = [["scripts/make_demo_data.py", "--out", str(scene)]]
    steps = ["--coarse_iterations", "500", "--iterations", "2500", "--device", "cuda"]
    return [
        *first,
        ["train.py", "-s", str(scene), "-m", model, "--configs", CONFIG, *steps, "--restart", "--quiet"],
        ["render.py", "--model_path", model, "--skip_train", "--quiet"],
        ["metrics.py", "-m", model, "--skip_lpips", "--quiet"],
    ]


def run_part(part: Part, report: dict, deadline: float, out: Path) -> None:
    """Fill in `state`, `seconds`, `said` and `results`."""
    part.said = report["machine"]["why_not"] if part.needs_gpu else ""
    if part.said:
        return
    begin = time.monotonic()
    end = min(begin + part.limit, deadline)
    before = time.time()
    log = out / f"{part.name}.log"
    with log.open("w") as file:
        for command in part.commands:
            part.state = run_until(end, [sys.executable, *command], file)
            if part.state != "passed":
                break
    part.seconds = round(time.monotonic() - begin, 1)
    lines = log.read_text(errors="replace").split("\n")
    part.said = next((line.strip() for line in reversed(lines) if line.strip()), "")
    for path in (*out.glob("bench_*.json"), *out.glob("model/results*.json")):
        if path.stat().st_mtime >= before:
            part.results[path.name] = json.loads(path.read_text())


def run_until(end: float, command: list[str], log: IO[str]) -> str:
    """passed, failed, or stopped when `end` (monotonic seconds) came first."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
    print("$", *command, file=log, flush=True)
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        code = process.wait(max(1.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # and the processes that it started
        process.wait()
        return "stopped"
    return "passed" if code == 0 else "failed"


def ask_machine() -> dict[str, object]:
    """Card, driver, torch, compiler; `why_not` says why our kernels do not run here, else None."""
    asked = subprocess.run([sys.executable, "-c", ASK_MACHINE], cwd=ROOT, capture_output=True, text=True)
    try:
        found = json.loads(asked.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        found = {"why_not": (asked.stderr.strip().splitlines() or ["torch could not be asked"])[-1]}
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    if shutil.which("nvidia-smi"):
        found["nvidia-smi"] = subprocess.run(query, capture_output=True, text=True).stdout.strip()
    found["compiler"] = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    if found["compiler"] is None:
        print("there is no C++ compiler: the CPU kernels are not built, slow PyTorch forms stand in for them")
    for key, value in found.items():
        print(f"  {key:<11} {value}")
    return found


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
        print("missing:", *missing)
        print("fetch them where there is a network, and bring the folder wheels/ here (or name it in GPU_WHEELS):")
        platforms = " ".join(f"--platform {name}_x86_64" for name in PLATFORMS)
        print(f"  pip download --dest wheels --no-deps --only-binary :all: {platforms} "
              f"--python-version {sys.version_info[0]}.{sys.version_info[1]} {' '.join(missing)}")  # fmt: skip
    return missing


def needed() -> Iterator[str]:
    """Names of the packages that must be there, without torch."""
    lines = [line for file in REQUIREMENTS if (ROOT / file).is_file() for line in (ROOT / file).read_text().splitlines()]
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


if __name__ == "__main__":
    raise SystemExit(main())
