"""The bound is announced before training and the peak stays under it; scripts/check_memory.py does the same
on a long clip."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.tiny_scene import write_tiny_scene
from utils.memory import MIB, MemoryBound, peak

ROOT = Path(__file__).parents[2]
FLAGS = (
    "--coarse_iterations 12 --iterations 12 --densify_from_iter 1 --densification_interval 4 --multires 1 2 "
    "--init_points 20000 --max_gaussians 40000 --densify_grad_threshold_coarse 1e-12"
)


def test_the_peak_stays_under_what_was_announced_and_over_half_of_it(tmp_path):
    scene = write_tiny_scene(tmp_path / "tiny")
    command = [sys.executable, "train.py", "-s", str(scene), "-m", str(tmp_path / "out"), *FLAGS.split()]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    taken, expected = (
        int(number.replace(",", ""))
        for number in re.search(r"memory: ([\d,]+) MiB at the peak, at most ([\d,]+) MiB", said).groups()
    )
    assert f"memory: at most {expected:,} MiB (" in said.splitlines()[0]
    assert '"n_gaussians": 40000' in (tmp_path / "out/log.jsonl").read_text()
    assert 0.5 * expected < taken <= expected


def test_the_parts_add_up_and_are_named():
    bound = MemoryBound(1 * MIB, 2 * MIB, 3 * MIB, 4 * MIB, 5000)
    assert bound.total == 10 * MIB
    for part in ("at most 10 MiB", "2 MiB image cache", "3 MiB up to 5,000 Gaussians"):
        assert part in str(bound)


def test_the_peak_counts_bytes():
    before = peak()
    kept = np.ones(before + 64 * MIB, np.uint8)
    assert 32 * MIB < peak() - before < 2 * len(kept)
