"""The bound is announced before training and the peak stays under it; scripts/bench/memory.py does
the same on a long clip."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.methods import CASES, EVERY, ROOT
from training.memory import MIB, MemoryBound, peak

FLAGS = (
    "--iterations 20 --densify_from_iter 1 --densification_interval 4 --init_points 20000 "
    "--max_gaussians 40000 --device cpu"
)


@pytest.fixture(scope="module", params=EVERY)
def case(request):
    """Each method in turn, the one for the tests among them."""
    return CASES[request.param]


def test_the_peak_stays_under_what_was_announced_and_over_half_of_it(case, tiny_folder, tmp_path):
    own = ["--method", case.method, *case.growing.split()]
    command = [
        sys.executable,
        "tests/with_more_methods.py",
        "train.py",
        "-s",
        str(tiny_folder),
        "-m",
        str(tmp_path / "out"),
        *FLAGS.split(),
        *own,
    ]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    taken, expected = (
        int(number.replace(",", ""))
        for number in re.search(
            r"memory: ([\d,]+) MiB at the peak, at most ([\d,]+) MiB", said
        ).groups()
    )
    assert f"memory: at most {expected:,} MiB (" in said
    assert '"n_gaussians": 40000' in (tmp_path / "out/log.jsonl").read_text()
    assert 0.5 * expected < taken <= expected


def bound_on(device):
    return MemoryBound(*(k * MIB for k in (1, 2, 6, 3, 4, 5, 7)), 5000, torch.device(device))


def test_the_parts_add_up_and_are_named():
    for part in ("at most 28 MiB (", "2 MiB image cache", "4 MiB up to 5,000 Gaussians"):
        assert part in str(bound_on("cpu"))


def test_what_a_card_holds_is_said_apart():
    on_card = str(bound_on("cuda:1"))
    assert "memory: at most 9 MiB (1 MiB program, 2 MiB image cache, 6 MiB reading); " in on_card
    assert "at most 19 MiB on cuda:1 (3 MiB pictures at work, 4 MiB up to 5,000" in on_card


@pytest.mark.long
def test_the_peak_counts_bytes():
    before = peak()
    kept = np.ones(before + 64 * MIB, np.uint8)
    assert 32 * MIB < peak() - before < 2 * len(kept)
