"""The parts of gpu_check.sh, each with its own time limit; one that fails stops no other.

Writes <out>/gpu_check.json after every part, and a log per part beside it. Exit code 0: every part
passed. 1: one failed. 2: none failed, but some were skipped, as on a machine without a GPU. It runs
before the environment stands, so it uses nothing but the standard library.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.gpu_wheels import PIP, install_wheels  # noqa: E402

LIMIT = 570  # seconds, of everything
CONFIG = "arguments/dnerf/default.py"
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
    """One line of the table: commands for Python, ended by the first that fails."""

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
    parts = all_parts(args.out, args.data)
    parts = [part for part in parts if not args.only or part.name in args.only]
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
    parser.add_argument(
        "--data", type=Path, help="D-NeRF scene to train on; the demo scene if none"
    )
    parser.add_argument("--out", type=Path, default=Path("output/gpu_check"))
    names = [part.name for part in all_parts(Path(), None)]
    parser.add_argument("--only", nargs="+", choices=names, help="run these parts alone")
    return parser.parse_args()


def all_parts(out: Path, data: Path | None) -> list[Part]:
    install = [*PIP, "--no-build-isolation", "--force-reinstall"]
    packages = sorted(str(path.parent) for path in ROOT.glob("submodules/*/pyproject.toml"))
    pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider"]
    # `--device auto` is the GPU where there is one: the runs and resumes of test_train.py are its.
    whole = ["test_train.py", "test_gaussian_renderer.py", "utils/test_devices.py"]
    bench = ["scripts/bench/gpu.py", "--device", "cuda", "--json", f"{out}/bench_gpu.json"]
    return [
        Part("packages", 120, [[*install, *packages]], needs_gpu=False),
        Part("whole", 100, [[*pytest, *(f"tests/{name}" for name in whole)]]),
        Part("kernels", 200, [[*pytest, "tests/submodules", "-k", "cuda or gpu"]]),
        Part("benchmarks", 150, [bench]),
        Part("training", 150, training(out, data)),
    ]


def training(out: Path, data: Path | None) -> list[list[str]]:
    """Train shortly, render the test views, score them."""
    model, scene, first = str(out / "model"), data, []
    if scene is None:
        scene = out / "demo"
        first = [["scripts/make_demo_data.py", "--out", str(scene)]]
    steps = ["--coarse_iterations", "500", "--iterations", "2500", "--device", "cuda"]
    steps += ["--follow", "never"]
    train = ["train.py", "-s", str(scene), "-m", model, "--configs", CONFIG, *steps]
    return [
        *first,
        [*train, "--restart", "--quiet"],
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
        command,
        cwd=ROOT,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
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
    asked = subprocess.run(
        [sys.executable, "-c", ASK_MACHINE], cwd=ROOT, capture_output=True, text=True
    )
    try:
        found = json.loads(asked.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        found = {"why_not": (asked.stderr.strip().splitlines() or ["torch could not be asked"])[-1]}
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    if shutil.which("nvidia-smi"):
        found["nvidia-smi"] = subprocess.run(query, capture_output=True, text=True).stdout.strip()
    found["compiler"] = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    if found["compiler"] is None:
        print(
            "there is no C++ compiler: the CPU kernels are not built, slow PyTorch forms stand in "
            "for them"
        )
    for key, value in found.items():
        print(f"  {key:<11} {value}")
    return found


if __name__ == "__main__":
    raise SystemExit(main())
