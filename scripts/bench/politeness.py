"""Train beside other jobs: python scripts/bench/politeness.py [--hogs N]

Trains a small scene alone and beside `N` processes that use a core each (default: one per core), in
turns, and compares the medians of the time per step. With one busy rival per core a fair share is
half the machine; threads that wait by spinning fall behind by an order of magnitude. Exit code 1
when training slows by more than LIMIT.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.tiny_scene import write_tiny_scene  # noqa: E402

SIZE = 200
STEPS = 100
FLAGS = (
    f"--coarse_iterations 0 --iterations {STEPS} --init_points 10000 --multires 1 2 "
    "--device cpu --quiet"
)
LIMIT = 4.0  # twice the fair share of a busy machine
ROUNDS = 2
WARM_UP = 3  # lines of the log, ten steps each, that are not counted


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--hogs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    times: dict[int, list[float]] = {0: [], args.hogs: []}
    with tempfile.TemporaryDirectory() as temporary:
        scene = write_tiny_scene(Path(temporary) / "scene", size=SIZE)
        for k in range(ROUNDS):
            for hogs, found in times.items():
                with rivals(hogs):
                    found += step_times(scene, Path(temporary) / f"out_{k}_{hogs}")
    alone, beside = (median(found) for found in times.values())
    print(
        f"alone {alone:.1f} ms a step; beside {args.hogs} busy processes {beside:.1f} ms: "
        f"{beside / alone:.2f} times"
    )
    return int(beside > LIMIT * alone)


@contextmanager
def rivals(count: int):
    """`count` processes that keep a core busy each."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def step_times(scene: Path, out: Path) -> list[float]:
    """Milliseconds a step, one number for every ten steps, as the run's log has them."""
    command = [sys.executable, "train.py", "-s", str(scene), "-m", str(out), *FLAGS.split()]
    subprocess.run(command, cwd=ROOT, check=True)
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [1000 / row["it_per_s"] for row in rows if "it_per_s" in row][WARM_UP:]


if __name__ == "__main__":
    raise SystemExit(main())
