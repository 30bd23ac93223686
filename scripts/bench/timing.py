"""What the benchmarks share: medians of timed spans on any device, the machine, a table."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from pathlib import Path

import torch

from training.memory import MIB
from utils.devices import clock, describe
from utils.files import write_json
from utils.images import make_folder

WARM_UP = 3  # repeats that are not counted: they load kernels and fill caches

Tick = Callable[[str], None]  # ends a part of a step, and names it


def measure(step: Callable[[Tick], object], device: torch.device, repeats: int) -> dict[str, float]:
    """Run `step` again and again; `<part>_ms` of every part it ticks, `total_ms`, and on a GPU
    `peak_mib`.

    Times are medians in milliseconds, the device waited for at every tick, which leaves no overlap
    between parts. The peak counts what torch's allocator held at most.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    rows = [_run(step, device) for _ in range(WARM_UP + repeats)][WARM_UP:]
    found = {f"{part}_ms": statistics.median(row[part] for row in rows) for part in rows[0]}
    found["total_ms"] = statistics.median(sum(row.values()) for row in rows)
    if device.type == "cuda":
        found["peak_mib"] = torch.cuda.max_memory_allocated(device) / MIB
    return found


def _run(step: Callable[[Tick], object], device: torch.device) -> dict[str, float]:
    """Milliseconds of each part of one step."""
    ticks = [("", clock(device))]
    step(lambda part: ticks.append((part, clock(device))))
    return {name: 1e3 * (at - before) for (_, before), (name, at) in pairwise(ticks)}


def machine(device: torch.device) -> dict[str, object]:
    """What a reader needs to compare the numbers with others."""
    card = {}
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        card = {
            "capability": f"{found.major}.{found.minor}",
            "multiprocessors": found.multi_processor_count,
            "card_mib": found.total_memory // MIB,
            "cuda": torch.version.cuda,
        }
    return {
        "device": describe(device),
        **card,
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def processor() -> str:
    """The processor's name as Linux knows it, else the architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def print_table(rows: Iterable[Mapping[str, object]], columns: Mapping[str, str]) -> None:
    """Rows as lines: `columns` maps a heading to a key; what a row lacks is a dash."""
    cells = [list(columns), *([_cell(row.get(key)) for key in columns.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        first, *rest = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join((first.strip().ljust(widths[0]), *rest)))


def save(path: Path, report: object) -> None:
    """Write a report as JSON; folders are made."""
    make_folder(path.parent)
    write_json(path, report)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"
    return "-" if value is None else str(value)
