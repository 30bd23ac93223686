"""The bound is announced before training and the peak stays under it; scripts/bench/memory.py does
the same on a long clip."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from diff_gaussian_rasterization.budget import VARIABLE

from arguments import parse_train_args
from scene import load_scene
from tests.building import built
from tests.methods import CASES, EVERY, ROOT
from tests.tiny_scene import write_tiny_scene
from training.memory import MIB, MemoryBound, expected_memory, peak
from utils.errors import run_command

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
    return MemoryBound(*(k * MIB for k in (1, 2, 6, 3, 4, 5, 7, 8)), 5000, torch.device(device))


def test_the_parts_add_up_and_are_named():
    for part in ("at most 36 MiB (", "2 MiB image cache", "4 MiB up to 5,000 Gaussians"):
        assert part in str(bound_on("cpu"))


def test_what_a_card_holds_is_said_apart():
    on_card = str(bound_on("cuda:1"))
    assert "memory: at most 9 MiB (1 MiB program, 2 MiB image cache, 6 MiB reading); " in on_card
    assert "at most 27 MiB on cuda:1 (3 MiB pictures at work, 4 MiB up to 5,000" in on_card


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Scene and method of 30 Gaussians that each reach every one of the picture's 4 tiles."""
    folder = write_tiny_scene(tmp_path_factory.mktemp("wide") / "scene")
    flags = ["--multires", "1", "--init_points", "30", "--max_gaussians", "30"]
    settings = parse_train_args(["-s", str(folder), "-m", "unused", *flags])
    scene = load_scene(settings.dataset, settings.model)
    method = built(scene, settings)
    with torch.no_grad():
        method.table.columns["log_scales"].fill_(2.0)
    return scene, method


def bound_of(wide):
    scene, method = wide
    return expected_memory(scene, method, method.stages(), 0)


def test_pairs_are_counted_and_bounded_by_what_a_view_may_have(wide, monkeypatch):
    assert bound_of(wide).pairs == 12 * 30 * 4
    monkeypatch.setenv(VARIABLE, str(77 * 50))  # with gradients
    assert bound_of(wide).pairs == 12 * 50
    monkeypatch.setenv(VARIABLE, "100")  # not even drawn
    assert bound_of(wide).pairs == 12
    monkeypatch.setenv(VARIABLE, "0")
    assert bound_of(wide).pairs == 12 * 30 * 4


def test_gradients_being_added_up_are_of_pairs_or_of_networks(wide):
    _, method = wide
    networks = sum(p.numel() for p in method.parameters())
    networks -= sum(p.numel() for p in method.table.parameters())
    assert bound_of(wide).adding == 4 * networks > 65 * 30 * 4


def test_a_budget_that_is_no_number_is_one_line(wide, monkeypatch, capsys):
    monkeypatch.setenv(VARIABLE, "2 GiB")
    with pytest.raises(SystemExit) as end:
        run_command(lambda: bound_of(wide), debug=False)
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said == f"error: {VARIABLE} is '2 GiB', expected bytes, or 0 for no limit\n"


def test_the_peak_is_that_of_the_process_and_not_of_the_one_that_started_it():
    kept = np.ones(2**30, np.uint8)
    command = [sys.executable, "-c", "from training.memory import peak; print(peak())"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert 0 < int(found) < len(kept)


@pytest.mark.long
def test_the_peak_counts_bytes():
    before = peak()
    kept = np.ones(before + 64 * MIB, np.uint8)
    assert 32 * MIB < peak() - before < 2 * len(kept)
