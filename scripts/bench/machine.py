"""Measure what the machine can do at most: scripts/bench/machine.py [--device cpu] [--json FILE]

Bandwidth of a copy and of a triad (c = a + 3 b) over arrays far larger than any cache, and the rate
of multiply-adds that a large matrix product reaches. docs/performance.md sets the kernels beside
these. Best of --repeats: a limit is what the machine does when nothing disturbs it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import utils.threads  # isort: skip  # noqa: F401  (must come before torch)

import torch

from scripts.bench.timing import machine, print_table, save
from utils.devices import choose_device, clock
from utils.errors import run_command

BYTES = 2**28  # of each array
SIDE = {"cpu": 2048, "cuda": 8192}  # of the matrices


def limits(device: torch.device, repeats: int) -> dict[str, float]:
    """GB/s of a copy and a triad, and GFLOP/s of float32 multiply-adds (two operations each)."""
    a, b, c = (torch.ones(BYTES // 4, device=device) for _ in range(3))
    x, y, z = (torch.ones(SIDE[device.type], SIDE[device.type], device=device) for _ in range(3))
    # A core reads the line that it is about to write, unless it streams: counted as written alone.
    return {
        "copy_gb_s": 2 * BYTES / best(lambda: b.copy_(a), device, repeats) / 1e9,
        "triad_gb_s": 3
        * BYTES
        / best(lambda: torch.add(a, b, alpha=3.0, out=c), device, repeats)
        / 1e9,
        "fma_gflop_s": 2 * len(x) ** 3 / best(lambda: torch.mm(x, y, out=z), device, repeats) / 1e9,
    }


def best(run: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Seconds of the fastest run."""
    times = []
    for _ in range(repeats + 1):
        begin = clock(device)
        run()
        times.append(clock(device) - begin)
    return min(times[1:])


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    args = parser.parse_args(argv)
    device = choose_device(args.device)
    found = machine(device) | limits(device, args.repeats)
    print_table(
        ({"what": key, "value": value} for key, value in found.items()), {"": "what", " ": "value"}
    )
    if args.json:
        save(args.json, found)


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]), debug="--debug" in sys.argv)
